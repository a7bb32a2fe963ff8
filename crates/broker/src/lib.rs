//! The topic: `core::ports::{Topic, Member}` in memory and on Kafka. Nothing here
//! knows what a message means, decides about retries or touches a database.
//!
//! Every implementation promises the same, and the module `suite` is the list:
//! - order within a partition, and one partition for a key;
//! - at least once: what a group did not commit is read again, by whoever owns the
//!   partition then, from the committed offset;
//! - a partition has one owner. The old owner has been handed its `Revoked` before
//!   the next one is handed its `Assigned`;
//! - a commit of what the member does not own, or has not read since it owns it, is
//!   `LostGeneration` and commits nothing; a commit never moves a group back.
//!
//! # Features
//! `kafka` builds the topic on Kafka; `conformance` opens the suite to other crates.

#[cfg(any(test, feature = "conformance"))]
#[macro_use]
pub mod suite;

#[cfg(feature = "kafka")]
mod kafka;
mod memory;
mod placing;
mod turns;

#[cfg(feature = "kafka")]
pub use kafka::{
    Difference, GroupInspection, Inspection, KafkaOptions, KafkaTopic, KeptEpoch, Made,
    MemberHealth, MemberInspection, PartitionInspection, Renewal, Seen, SettingsError, TopicPlan,
    TopicSettings, TopicWarning, Why, renewal,
};
pub use memory::{MemoryOptions, MemoryTopic};

use tombola_core::limits;
use tombola_core::ports::Outgoing;

/// Bytes of a message's key, value and headers together: the value may use its own
/// bound up, and the rest stays small.
pub(crate) const WHOLE_BYTES_MAX: usize = 2 * limits::MESSAGE_BYTES_MAX;

/// Why no broker will ever take `message`, if it is so.
pub(crate) fn refusal(message: &Outgoing) -> Option<String> {
    let value = message.value.len();
    if value > limits::MESSAGE_BYTES_MAX {
        return Some(format!(
            "the value has {value} bytes, {} is the most",
            limits::MESSAGE_BYTES_MAX
        ));
    }
    let headers = message
        .headers
        .iter()
        .map(|(name, text)| name.len() + text.len());
    let whole = value + message.key.len() + headers.sum::<usize>();
    (whole > WHOLE_BYTES_MAX)
        .then(|| format!("the message has {whole} bytes, {WHOLE_BYTES_MAX} is the most"))
}
