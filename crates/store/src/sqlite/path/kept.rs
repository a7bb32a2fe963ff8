//! Messages that changed no award, kept for people.

use crate::sql::OrStoreError as _;
use crate::sql::{Connection, params};
use tombola_core::Timestamp;
use tombola_core::limits::KEPT_MESSAGE_BYTES_MAX;
use tombola_core::ports::{KeptMessage, StoreResult};

/// Keeps each once: a message that is read again lies at the same position.
pub(super) fn keep(conn: &Connection, messages: &[KeptMessage], now: Timestamp) -> StoreResult<()> {
    let mut insert = conn
        .prepare_cached(
            "INSERT INTO kept_message (topic_epoch, partition, \"offset\", message_key, value, headers, reason, at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (topic_epoch, partition, \"offset\") DO NOTHING",
        )
        .or_store()?;
    for message in messages {
        let value = message.value.as_deref();
        let headers = serde_json::to_string(&message.headers).expect("pairs of texts are JSON");
        insert
            .execute(params![
                message.position.epoch,
                message.position.partition,
                message.position.offset,
                message.key,
                value.map(|value| &value[..value.len().min(KEPT_MESSAGE_BYTES_MAX)]),
                headers,
                message.reason.name(),
                now.0,
            ])
            .or_store()?;
    }
    Ok(())
}
