//! Dead letters: awards that were given up on, and messages that changed no award.

use super::awards::{JOINS, SAME_DRAWS};
use super::column::{count, instant, odd, text, word, word_or_null};
use super::page::{Cut, Page, PageQuery, Place};
use super::walk::{Conditions, Index, Reach, dense, page_of};
use crate::Store;
use crate::sql::OrStoreError as _;
use crate::sql::{self, Connection, OptionalExtension, Row};
use serde::{Deserialize, Serialize};
use tombola_core::Timestamp;
use tombola_core::campaign::Kind;
use tombola_core::ports::StoreResult;
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

/// Why a dead letter is one: an award's reason, or a kept message's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum LetterReason {
    /// Why an award was given up on.
    Award(DeadReason),
    /// Why a message was kept.
    Message(KeptReason),
}

impl LetterReason {
    /// The reason of that name.
    pub fn parse(name: &str) -> Option<Self> {
        let of_message = || KeptReason::parse(name).map(Self::Message);
        DeadReason::parse(name).map(Self::Award).or_else(of_message)
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Award(reason) => reason.name(),
            Self::Message(reason) => reason.name(),
        }
    }

    /// The names of all reasons.
    pub fn names() -> impl Iterator<Item = &'static str> {
        let of_messages = KeptReason::ALL.iter().map(|it| it.name());
        DeadReason::ALL
            .iter()
            .map(|it| it.name())
            .chain(of_messages)
    }
}

impl TryFrom<String> for LetterReason {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let known = || Self::names().collect::<Vec<_>>().join(", ");
        Self::parse(&name).ok_or_else(|| format!("use one of {}", known()))
    }
}

impl From<LetterReason> for String {
    fn from(reason: LetterReason) -> Self {
        reason.name().to_owned()
    }
}

/// Which dead letters; an absent field matches all. One that names a campaign or a
/// kind leaves messages out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeadLetterFilter {
    /// Of this campaign.
    pub campaign: Option<String>,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// Given up on, or kept, for this reason.
    pub reason: Option<LetterReason>,
    /// Drawn, or kept, since then.
    pub since: Option<Timestamp>,
    /// Drawn, or kept, before then.
    pub until: Option<Timestamp>,
}

impl DeadLetterFilter {
    const fn has_awards(&self) -> bool {
        !matches!(self.reason, Some(LetterReason::Message(_)))
    }

    const fn has_messages(&self) -> bool {
        self.campaign.is_none()
            && self.kind.is_none()
            && !matches!(self.reason, Some(LetterReason::Award(_)))
    }
}

impl Store {
    /// Dead letters: awards, newest first, and after them messages, newest first. Those
    /// that were dismissed are left out.
    pub async fn dead_letter_list(
        &self,
        filter: DeadLetterFilter,
        page: PageQuery,
    ) -> StoreResult<Page<DeadLetterFact>> {
        self.read(move |conn| list(conn, &filter, page, Reach::default()).or_store())
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

/// A message's place is its number and this: below the places of all awards.
const MESSAGES: i64 = i64::MIN / 2;

pub(super) fn list(
    conn: &Connection,
    filter: &DeadLetterFilter,
    page: PageQuery,
    reach: Reach,
) -> sql::Result<Page<DeadLetterFact>> {
    let mut letters = Page {
        items: Vec::new(),
        next: None,
    };
    if filter.has_awards() && page.below() > 0 {
        letters = awards(conn, filter, page, reach)?;
    }
    if letters.next.is_some() || !filter.has_messages() {
        return Ok(letters);
    }
    // Awards that fill the page to the last row leave the messages to the next.
    let left = page.limit() - letters.items.len();
    let limit = Some(left.max(1));
    let messages = messages(conn, filter, PageQuery { limit, ..page }, reach)?;
    if left == 0 {
        let is_any = !messages.items.is_empty() || messages.next.is_some();
        letters.next = is_any.then_some(Place(0));
    } else {
        letters.items.extend(messages.items);
        letters.next = messages.next;
    }
    Ok(letters)
}

/// Dead awards in order, of one reason or of all.
fn index_of(filter: &DeadLetterFilter) -> Index {
    let mut fixed = Conditions::default();
    let table = if let Some(LetterReason::Award(reason)) = filter.reason {
        fixed.value("v.dead_reason = ?", Some(reason.name().to_owned()));
        "delivery v INDEXED BY delivery_dead_reason"
    } else {
        fixed.always("v.state = 'dead'");
        "delivery v INDEXED BY delivery_dead"
    };
    let id = "v.award_id";
    Index { table, id, fixed }
}

fn awards(
    conn: &Connection,
    filter: &DeadLetterFilter,
    page: PageQuery,
    reach: Reach,
) -> sql::Result<Page<DeadLetterFact>> {
    let index = index_of(filter);
    let cuts = index.cuts(conn, page.below(), reach)?;
    let (table, mut fits) = (index.table, index.fixed);
    fits.always(
        "NOT EXISTS (SELECT 1 FROM dismissed_award s WHERE s.award_id = v.award_id AND s.lease = v.lease)",
    );
    fits.value("c.slug = ?", filter.campaign.clone());
    fits.value("v.kind = ?", filter.kind.map(text(Kind::name)));
    fits.period("d.drawn_at", (filter.since, filter.until));
    let sql = format!(
        "SELECT v.award_id, v.dead_reason, v.ended_at, c.slug, d.user, p.slug, v.kind, v.in_doubt, v.attempts,
           d.drawn_at, (SELECT detail FROM attempt a WHERE a.award_id = v.award_id ORDER BY n DESC LIMIT 1)
         FROM {table} {JOINS} WHERE v.award_id >= ? AND v.award_id < ?{SAME_DRAWS}{}
         ORDER BY v.award_id DESC LIMIT ?",
        fits.sql
    );
    let statement = (sql.as_str(), fits.values.as_slice());
    let page = page_of(conn, statement, (page, cuts), award, |it| it.0)?;
    Ok(page.map(|(_, letter)| letter))
}

/// A dead letter with its place.
type Placed = (i64, DeadLetterFact);

fn award(row: &Row<'_>) -> sql::Result<Placed> {
    let place: i64 = row.get(0)?;
    let letter = DeadLetterFact {
        id: place.to_string(),
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
    };
    Ok((place, letter))
}

fn messages(
    conn: &Connection,
    filter: &DeadLetterFilter,
    page: PageQuery,
    reach: Reach,
) -> sql::Result<Page<DeadLetterFact>> {
    let below = page.below().min(0) - MESSAGES;
    let page = PageQuery {
        after: Some(Place(below)),
        ..page
    };
    let cut = Cut {
        from: i64::MIN,
        below,
    };
    let cuts = dense(conn, "kept_message", cut, reach)?;
    let mut fits = Conditions::default();
    fits.always("dismissed_at IS NULL");
    if let Some(LetterReason::Message(reason)) = filter.reason {
        fits.value("reason = ?", Some(reason.name().to_owned()));
    }
    fits.period("at", (filter.since, filter.until));
    let sql = format!(
        "SELECT id, reason, at, partition, \"offset\", coalesce(length(value), 0) FROM kept_message
         WHERE id >= ? AND id < ?{} ORDER BY id DESC LIMIT ?",
        fits.sql
    );
    let statement = (sql.as_str(), fits.values.as_slice());
    let found = page_of(conn, statement, (page, cuts), message, |it| it.0)?;
    let next = found.next.map(|number| Place(number.0 + MESSAGES));
    Ok(Page {
        next,
        ..found.map(|(_, letter)| letter)
    })
}

fn message(row: &Row<'_>) -> sql::Result<Placed> {
    let number: i64 = row.get(0)?;
    let letter = DeadLetterFact {
        id: format!("m{number}"),
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
    };
    Ok((number, letter))
}

fn kept_message(conn: &Connection, number: i64) -> sql::Result<Option<KeptMessageFact>> {
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
            headers: serde_json::from_str(row.text(6)?)
                .map_err(|error| odd(6, error.to_string()))?,
        })
    })
    .optional()
}
