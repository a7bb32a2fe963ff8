//! Dead letters: awards that were given up on, and messages that changed no award.

use super::column::{count, instant, odd, word, word_or_null};
use super::{Page, PageQuery};
use crate::sqlite::SqliteStore;
use crate::sqlite::error::OrStoreError as _;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use tombola_core::Timestamp;
use tombola_core::campaign::Kind;
use tombola_core::ports::{DeadFilter, StoreResult};
use tombola_core::reason::{DeadReason, KeptReason};

/// One dead letter. Fields that its sort has not are absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DeadLetterFact {
    /// An award's id, or `m<number>` of a message.
    pub id: String,
    /// Why: a dead award's reason, or a kept message's.
    pub reason: String,
    /// When it was given up on, or kept.
    pub at: Timestamp,
    /// Of an award: its campaign.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub campaign: Option<String>,
    /// Of an award: who won.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub user: Option<String>,
    /// Of an award: its prize.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub prize: Option<String>,
    /// Of an award: how it is delivered.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub kind: Option<Kind>,
    /// Of an award: an effect may exist, so a requeue needs the word "not delivered".
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub in_doubt: Option<bool>,
    /// Of an award: attempts begun.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub attempts: Option<u64>,
    /// Of an award: when it was won.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub drawn_at: Option<Timestamp>,
    /// Of an award: what the last line of its log says.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub detail: Option<String>,
    /// Of a message: its partition.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub partition: Option<i32>,
    /// Of a message: its offset.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub offset: Option<i64>,
    /// Of a message: how many bytes of its value are kept.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub bytes: Option<u64>,
}

/// Which dead letters.
pub type DeadLetterFilter = DeadFilter;

impl SqliteStore {
    /// Dead letters: awards, newest first, and after them messages, newest first. Those
    /// that were dismissed are left out.
    /// A filter that names a campaign, a kind or an award's reason leaves messages out.
    pub async fn dead_letter_list(
        &self,
        filter: DeadLetterFilter,
        page: PageQuery,
    ) -> StoreResult<Page<DeadLetterFact>> {
        self.read(move |conn| {
            let letters = list(conn, &filter, &page).or_store()?;
            Ok(page.page(letters, |last| last.id.clone()))
        })
        .await
    }

    /// The kept message `m<number>` whole: key, value and headers as JSON.
    pub async fn kept_message_show(&self, number: i64) -> StoreResult<Option<KeptMessageFact>> {
        self.read(move |conn| kept_message(conn, number).or_store())
            .await
    }
}

/// A kept message whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct KeptMessageFact {
    /// `m<number>`.
    pub id: String,
    /// Why it was kept.
    pub reason: KeptReason,
    /// When.
    pub at: Timestamp,
    /// Where it lay.
    pub partition: i32,
    /// Where it lay.
    pub offset: i64,
    /// Its key, as far as it is text.
    pub key: Option<String>,
    /// Its value as text, with what is no text replaced.
    pub value: Option<String>,
    /// Bytes of its value that are kept.
    pub bytes: u64,
    /// Its headers, name and value.
    pub headers: serde_json::Value,
}

const FROM_DEAD: &str = "FROM delivery v JOIN draw d ON d.id = v.award_id
  JOIN prize p ON p.id = v.prize_id JOIN campaign c ON c.id = p.campaign_id
  WHERE v.state = 'dead' AND v.award_id < ?1
    AND NOT EXISTS (SELECT 1 FROM dismissed_award s WHERE s.award_id = v.award_id AND s.lease = v.lease)";

const FITS: &str = "(?2 IS NULL OR c.slug = ?2) AND (?3 IS NULL OR v.kind = ?3)
  AND (?4 IS NULL OR v.dead_reason = ?4) AND (?5 IS NULL OR d.drawn_at >= ?5)";

type Columns<'a> = (
    Option<&'a str>,
    Option<&'static str>,
    Option<&'static str>,
    Option<i64>,
);

fn columns(filter: &DeadFilter) -> Columns<'_> {
    (
        filter.campaign.as_deref(),
        filter.kind.map(Kind::name),
        filter.reason.map(DeadReason::name),
        filter.since.map(|since| since.0),
    )
}

fn list(
    conn: &Connection,
    filter: &DeadFilter,
    page: &PageQuery,
) -> rusqlite::Result<Vec<DeadLetterFact>> {
    let after_message: Option<i64> = page
        .after
        .as_deref()
        .and_then(|after| after.strip_prefix('m'))
        .and_then(|number| number.parse().ok());
    let mut letters = if after_message.is_some() {
        Vec::new()
    } else {
        awards(conn, filter, page)?
    };
    let room = page.rows() - i64::try_from(letters.len()).unwrap_or(i64::MAX);
    let has_messages =
        filter.campaign.is_none() && filter.kind.is_none() && filter.reason.is_none();
    if room > 0 && has_messages {
        letters.extend(messages(
            conn,
            filter,
            after_message.unwrap_or(i64::MAX),
            room,
        )?);
    }
    Ok(letters)
}

fn awards(
    conn: &Connection,
    filter: &DeadFilter,
    page: &PageQuery,
) -> rusqlite::Result<Vec<DeadLetterFact>> {
    let sql = format!(
        "SELECT v.award_id, v.dead_reason, v.ended_at, c.slug, d.user, p.slug, v.kind, v.in_doubt, v.attempts,
           d.drawn_at, (SELECT detail FROM attempt a WHERE a.award_id = v.award_id ORDER BY n DESC LIMIT 1)
         {FROM_DEAD} AND {FITS} ORDER BY v.award_id DESC LIMIT ?6"
    );
    let (campaign, kind, reason, since) = columns(filter);
    conn.prepare_cached(&sql)?
        .query_map(
            params![page.below(), campaign, kind, reason, since, page.rows()],
            award,
        )?
        .collect()
}

fn award(row: &Row<'_>) -> rusqlite::Result<DeadLetterFact> {
    Ok(DeadLetterFact {
        id: row.get::<_, i64>(0)?.to_string(),
        reason: word(row, 1, DeadReason::parse)?.to_string(),
        at: instant(row, 2)?,
        campaign: Some(row.get(3)?),
        user: Some(row.get(4)?),
        prize: Some(row.get(5)?),
        kind: word_or_null(row, 6, Kind::parse)?,
        in_doubt: Some(row.get(7)?),
        attempts: Some(count(row, 8)?),
        drawn_at: Some(instant(row, 9)?),
        detail: row.get(10)?,
        partition: None,
        offset: None,
        bytes: None,
    })
}

fn messages(
    conn: &Connection,
    filter: &DeadFilter,
    below: i64,
    limit: i64,
) -> rusqlite::Result<Vec<DeadLetterFact>> {
    conn.prepare_cached(
        "SELECT id, reason, at, partition, \"offset\", coalesce(length(value), 0) FROM kept_message
         WHERE id < ?1 AND (?2 IS NULL OR at >= ?2) AND dismissed_at IS NULL ORDER BY id DESC LIMIT ?3",
    )?
    .query_map(
        params![below, filter.since.map(|since| since.0), limit],
        |row| {
            Ok(DeadLetterFact {
                id: format!("m{}", row.get::<_, i64>(0)?),
                reason: word(row, 1, KeptReason::parse)?.to_string(),
                at: instant(row, 2)?,
                campaign: None,
                user: None,
                prize: None,
                kind: None,
                in_doubt: None,
                attempts: None,
                drawn_at: None,
                detail: None,
                partition: Some(row.get(3)?),
                offset: Some(row.get(4)?),
                bytes: Some(count(row, 5)?),
            })
        },
    )?
    .collect()
}

fn kept_message(conn: &Connection, number: i64) -> rusqlite::Result<Option<KeptMessageFact>> {
    conn.prepare_cached(
        "SELECT reason, at, partition, \"offset\", message_key, value, headers, coalesce(length(value), 0)
         FROM kept_message WHERE id = ?1",
    )?
    .query_row([number], |row| {
        let value: Option<Vec<u8>> = row.get(5)?;
        Ok(KeptMessageFact {
            id: format!("m{number}"),
            reason: word(row, 0, KeptReason::parse)?,
            at: instant(row, 1)?,
            partition: row.get(2)?,
            offset: row.get(3)?,
            key: row.get(4)?,
            value: value.map(|value| String::from_utf8_lossy(&value).into_owned()),
            bytes: count(row, 7)?,
            headers: serde_json::from_str(row.get_ref(6)?.as_str()?)
                .map_err(|error| odd(6, error.to_string()))?,
        })
    })
    .optional()
}
