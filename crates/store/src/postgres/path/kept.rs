//! Messages that changed no award, kept for people.

use super::super::session::Session;
use super::lines::plain;
use tombola_core::Timestamp;
use tombola_core::limits::KEPT_MESSAGE_BYTES_MAX;
use tombola_core::ports::{KeptMessage, StoreResult};

/// The messages, as columns.
#[derive(Default)]
struct Columns<'a> {
    epoch: Vec<i64>,
    partition: Vec<i32>,
    offset: Vec<i64>,
    key: Vec<Option<String>>,
    value: Vec<Option<&'a [u8]>>,
    headers: Vec<String>,
    reason: Vec<&'static str>,
}

/// Keeps each once: a message that is read again lies at the same position. They are
/// inserted in the order of their positions, so that two workers which keep the same
/// ones wait for each other and never in a circle.
pub(in crate::postgres) async fn keep_messages(
    session: &mut Session,
    messages: &[KeptMessage],
    now: Timestamp,
) -> StoreResult<()> {
    if messages.is_empty() {
        return Ok(());
    }
    let mut sorted: Vec<&KeptMessage> = messages.iter().collect();
    let at = |it: &&KeptMessage| (it.position.epoch, it.position.partition, it.position.offset);
    sorted.sort_by_key(at);
    let mut columns = Columns::default();
    for message in sorted {
        let value = message.value.as_deref();
        let headers = serde_json::to_string(&message.headers).expect("pairs of texts are JSON");
        columns.epoch.push(message.position.epoch);
        columns.partition.push(message.position.partition);
        columns.offset.push(message.position.offset);
        columns.key.push(message.key.as_deref().map(plain));
        let cut = value.map(|value| &value[..value.len().min(KEPT_MESSAGE_BYTES_MAX)]);
        columns.value.push(cut);
        columns.headers.push(headers);
        columns.reason.push(message.reason.name());
    }
    let work = session.begin();
    work.execute(
        &work.sql.keep_messages,
        &[
            &now.0,
            &columns.epoch,
            &columns.partition,
            &columns.offset,
            &columns.key,
            &columns.value,
            &columns.headers,
            &columns.reason,
        ],
    )
    .await?;
    work.commit().await
}
