//! The suite that every topic passes: named cases, each a claim of the port. A
//! change of the port begins with a case here. [`topic_suite!`](crate::topic_suite)
//! makes one test of each case for one implementation.
//!
//! Only what both keep is here. Cases of one implementation stand beside it: a full
//! topic, a head that is trimmed, expelled members and crashes that are noticed at
//! once in `memory`; broker faults and foreign clients in `kafka`.

mod groups;
mod messages;
mod ownership;
mod positions;
pub(crate) mod reader;

use async_trait::async_trait;
pub use reader::{Reader, Seen, Trace, until_both};
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tombola_core::ports::{Outgoing, Report, Topic};

/// Partitions of the topic that a case is given.
pub const PARTITIONS: i32 = 4;

/// A case that takes longer hangs: brokers notice joins and losses within seconds.
pub const CASE_TIMEOUT: Duration = Duration::from_mins(1);

/// One empty topic, and what a case needs beside the port.
#[async_trait(?Send)]
pub trait World {
    /// Why there is no such topic on this machine, if it is so.
    fn absent() -> Option<&'static str>
    where
        Self: Sized,
    {
        None
    }

    /// Opens an empty topic with [`PARTITIONS`] partitions of one replica.
    async fn open() -> Self
    where
        Self: Sized;

    /// The topic under test.
    fn topic(&self) -> &dyn Topic;

    /// Puts a message there past the port, as a foreign producer would.
    async fn publish_foreign(&self, key: Option<&[u8]>, value: Option<&[u8]>);
}

/// Runs a case; used by [`topic_suite!`](crate::topic_suite).
pub async fn run<W: World>(name: &str, case: impl AsyncFnOnce(&dyn World)) {
    if let Some(why) = W::absent() {
        skip(name, why);
        return;
    }
    let world = W::open().await;
    in_time(case(&world)).await;
}

/// Says that a test could not run, past the harness, which knows no such thing.
pub fn skip(name: &str, why: &str) {
    let line = format!("tombola-skip: {name}: {why}\n");
    let written = std::io::stdout().write_all(line.as_bytes());
    written.expect("standard output is open");
}

/// Ends a case that waits for what never comes.
pub async fn in_time<T>(future: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(CASE_TIMEOUT, future).await;
    done.expect("nothing takes longer than a case may")
}

macro_rules! cases {
    ($d:tt $($module:ident { $($case:ident,)+ })+) => {
        $(pub use $module::{$($case),+};)+

        /// One test of each case of the suite, for the topic of one [`World`]:
        /// `topic_suite!(MyWorld);`
        #[macro_export]
        macro_rules! topic_suite {
            ($d world:ty) => {
                $($(
                    #[tokio::test]
                    async fn $case() {
                        let name = concat!(module_path!(), "::", stringify!($case));
                        $d crate::suite::run::<$d world>(name, $d crate::suite::$case).await;
                    }
                )+)+
            };
        }
    };
}

cases! { $
    messages {
        same_key_is_read_in_the_order_of_publishing,
        batches_side_by_side_keep_the_order_of_a_key,
        key_has_the_place_that_kafkas_clients_give_it,
        report_names_the_place_where_the_message_is_read,
        headers_and_empty_values_are_kept,
        null_key_and_null_value_of_a_foreign_producer_are_kept,
        too_large_is_refused_and_its_neighbours_are_taken,
        largest_value_is_taken,
        poll_gives_no_more_than_asked,
        waiting_member_sees_a_later_message,
        poll_that_is_dropped_loses_nothing,
    }
    positions {
        new_member_begins_at_the_committed_offset,
        uncommitted_is_read_again,
        older_commit_does_not_move_the_group_back,
        commit_past_what_was_read_is_lost,
        group_position_says_committed_and_end,
        group_that_was_never_here_stands_at_the_start,
        topic_is_described_and_created_once,
    }
    groups {
        second_member_takes_half_and_reads_on_from_the_committed_offset,
        new_owner_is_told_only_after_the_old_one,
        member_that_leaves_gives_its_partitions_back,
        crashed_member_gives_its_partitions_back,
        two_groups_read_everything_each,
    }
    ownership {
        lost_generation_cannot_commit_and_nothing_is_committed,
        lost_partition_cannot_be_paused,
        commit_of_what_stayed_is_good_after_a_rebalance,
        partition_that_comes_back_is_read_from_what_was_committed,
        pause_stops_and_resume_goes_on,
        pause_ends_with_the_assignment,
    }
}

/// A message whose key belongs to `partition`.
pub fn outgoing(partition: i32, text: &str) -> Outgoing {
    Outgoing {
        key: key_of(partition),
        value: Arc::from(text.as_bytes()),
        headers: Vec::new(),
    }
}

/// A user whose messages belong to `partition` of a topic of a [`World`].
pub fn key_of(partition: i32) -> String {
    (0..1_000)
        .map(|user| format!("u{user}"))
        .find(|key| crate::placing::partition_of(key.as_bytes(), PARTITIONS) == partition)
        .expect("every partition has users")
}

/// Publishes `texts` to one partition; the offsets they got.
pub async fn publish(world: &dyn World, partition: i32, texts: &[&str]) -> Vec<i64> {
    let messages = texts.iter().map(|text| outgoing(partition, text)).collect();
    let reports = world.topic().publish_batch(messages).await;
    reports.iter().map(|report| taken(report).1).collect()
}

/// Publishes one message to each partition, its text the partition's number.
pub async fn publish_everywhere(world: &dyn World) {
    for partition in 0..PARTITIONS {
        publish(world, partition, &[&partition.to_string()]).await;
    }
}

/// Partition and offset of a message that must have been taken.
pub fn taken(report: &Report) -> (i32, i64) {
    match report {
        Report::Taken { partition, offset } => (*partition, *offset),
        Report::NotTaken(why) | Report::Unknown(why) | Report::Refused(why) => {
            panic!("the message was not taken: {why}")
        }
    }
}
