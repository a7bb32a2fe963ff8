//! One award and everything that happened to it, in order.

use super::awards::{self, AwardFact};
use super::column::{as_column, instant, instant_or_null, word};
use crate::seal::Place;
use crate::sql::{self, Connection, OptionalExtension};
use crate::sql::{OrStoreError as _, inconsistent};
use crate::{Shared, Store};
use serde::{Deserialize, Serialize};
use tombola_core::award::State;
use tombola_core::campaign::{Kind, KindSpec, Release};
use tombola_core::limits::TIMELINE_LINES_MAX;
use tombola_core::ports::{StoreError, StoreResult};
use tombola_core::{AwardId, Timestamp};

/// One award with its timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AwardDetail {
    /// What lists show.
    #[serde(flatten)]
    pub fact: AwardFact,
    /// The prize's name by the rules it was drawn by.
    pub prize_name: String,
    /// The program that asked for the draw: it may see `content` whole.
    pub client: String,
    /// The version of the rules it was drawn by.
    pub version: i32,
    /// The `orderId` of the system that it was adopted from, as text: it may be beyond
    /// what a reader of JSON keeps.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub adopted_order: Option<String>,
    /// Version of the key that signs its claim token.
    pub claim_key_version: i32,
    /// Publishes by rescue since a worker last saw a copy.
    pub publishes: u64,
    /// Names its message.
    pub message_id: String,
    /// Given to the endpoint on every attempt.
    pub delivery_key: String,
    /// The endpoint's name, if one delivers it.
    pub endpoint: Option<String>,
    /// When a scheduled award is released.
    pub release_at: Option<Timestamp>,
    /// The text or code of a delivered award: whole for the client that drew and for the
    /// claim token, otherwise masked.
    pub content: Option<String>,
    /// Why the code of a delivered award cannot be shown, where it does not open.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub content_problem: Option<String>,
    /// Points credited, if it is a delivered award of that kind.
    pub points: Option<i64>,
    /// Whether the winner gave an address; the address itself is not shown.
    pub has_address: bool,
    /// What was shipped, if it was.
    pub shipment: Option<Shipment>,
    /// From the draw on.
    pub timeline: Vec<TimelineEntry>,
}

/// A shipment as an operator entered it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Shipment {
    /// Who carries it.
    pub carrier: String,
    /// The carrier's number.
    pub tracking: String,
    /// When it was entered.
    pub at: Timestamp,
}

/// One thing that happened. Absent fields say nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TimelineEntry {
    /// When; unknown for a first publish that went well, which the row itself tells.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub at: Option<Timestamp>,
    /// `drawn` or `adopted, published, publish, deliver, rescue, operator`.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["drawn", "adopted", "published", "publish", "deliver", "rescue", "operator"])))]
    pub what: String,
    /// What was decided: a distributor's decision, the broker's word, an operator's act.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub decision: Option<String>,
    /// Where the award stood after it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub state: Option<State>,
    /// When it was to be looked at next.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub due_at: Option<Timestamp>,
    /// The lease that it was done under.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lease: Option<i64>,
    /// Of a delivery: what the endpoint, or the person who confirmed, gave for it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub receipt: Option<String>,
    /// Error or reason.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub detail: Option<String>,
    /// Partition of the copy.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub partition: Option<i32>,
    /// Offset of the copy.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub offset: Option<i64>,
}

impl AwardDetail {
    /// The same without what only the winner may see whole.
    #[must_use]
    pub fn masked(mut self) -> Self {
        self.content = self.content.map(|content| mask(&content));
        self
    }
}

/// The first two and last two of at least eight characters, the rest as dots; all
/// as dots where there are fewer. The length is not told.
fn mask(content: &str) -> String {
    const DOTS: &str = "••••";
    let chars: Vec<char> = content.chars().collect();
    match chars.as_slice() {
        [a, b, middle @ .., y, z] if middle.len() >= 4 => format!("{a}{b}{DOTS}{y}{z}"),
        _ => DOTS.to_owned(),
    }
}

impl Store {
    /// One award with its whole timeline; `None` if there is none of that id.
    pub async fn award_show(&self, id: AwardId) -> StoreResult<Option<AwardDetail>> {
        let shared = self.shared();
        self.read(move |conn| show(conn, &shared, id)).await
    }
}

/// What the row says beside the fact.
struct More {
    campaign_id: i64,
    version: i32,
    client: String,
    claim_key_version: i32,
    publishes: u64,
    message_id: String,
    delivery_key: String,
    lane: i64,
    partition: Option<i32>,
    offset: Option<i64>,
    /// The order of the system that it was adopted from.
    order: Option<i64>,
}

fn show(conn: &Connection, shared: &Shared, id: AwardId) -> StoreResult<Option<AwardDetail>> {
    let Some((fact, more)) = load(conn, id).or_store()? else {
        return Ok(None);
    };
    let rules = shared.rules.rules(conn, more.campaign_id, more.version)?;
    let prize = rules.prize(&fact.prize).map(|(_, prize)| prize);
    let is_delivered = fact.state == State::Delivered;
    let content = match prize.map(|prize| &prize.spec) {
        Some(KindSpec::Text { text }) if is_delivered => Ok(Some(text.clone())),
        Some(KindSpec::Code { .. }) if is_delivered => code(conn, shared, id),
        Some(_) | None => Ok(None),
    };
    // The rest of the award is as good as before.
    let (content, content_problem) = match content {
        Err(error @ StoreError::Sealed(_)) => {
            tracing::error!(award.id = %id, %error, "the code of an award cannot be shown");
            (None, Some(error.to_string()))
        }
        content => (content?, None),
    };
    let endpoint = conn
        .prepare_cached("SELECT name FROM endpoint WHERE lane = ?1")
        .and_then(|mut it| it.query_row([more.lane], |row| row.get(0)).optional())
        .or_store()?;
    Ok(Some(AwardDetail {
        prize_name: prize.map_or_else(|| fact.prize.clone(), |prize| prize.name.clone()),
        release_at: prize.and_then(|prize| match prize.release {
            Release::At(at) => Some(at),
            Release::Immediate | Release::Manual => None,
        }),
        content,
        content_problem,
        endpoint,
        points: points(conn, id).or_store()?,
        has_address: has_address(conn, id).or_store()?,
        shipment: shipment(conn, id).or_store()?,
        timeline: timeline(conn, &fact, &more).or_store()?,
        client: more.client,
        version: more.version,
        adopted_order: more.order.map(|it| it.to_string()),
        claim_key_version: more.claim_key_version,
        publishes: more.publishes,
        message_id: more.message_id,
        delivery_key: more.delivery_key,
        fact,
    }))
}

fn load(conn: &Connection, id: AwardId) -> sql::Result<Option<(AwardFact, More)>> {
    conn.prepare_cached(&format!(
        "SELECT {}, d.campaign_id, d.version, d.client, d.claim_key, v.publishes, v.message_id,
           v.delivery_key, v.lane, v.partition, v.\"offset\",
           (SELECT a.order_id FROM adopted a WHERE a.award_id = v.award_id)
         FROM delivery v {} WHERE v.award_id = ?1",
        awards::COLUMNS,
        awards::JOINS
    ))?
    .query_row([id.0], |row| {
        let more = More {
            campaign_id: row.get(15)?,
            version: row.get(16)?,
            client: row.get(17)?,
            claim_key_version: row.get(18)?,
            publishes: super::column::count(row, 19)?,
            message_id: row.get(20)?,
            delivery_key: row.get(21)?,
            lane: row.get(22)?,
            partition: row.get(23)?,
            offset: row.get(24)?,
            order: row.get(25)?,
        };
        Ok((awards::fact(row)?, more))
    })
    .optional()
}

fn code(conn: &Connection, shared: &Shared, id: AwardId) -> StoreResult<Option<String>> {
    let found: Option<(i64, [u8; 16], i32, Vec<u8>)> = conn
        .prepare_cached(
            "SELECT campaign_id, digest, key_version, sealed FROM code WHERE award_id = ?1",
        )
        .and_then(|mut it| {
            it.query_row([id.0], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })
            .optional()
        })
        .or_store()?;
    let Some((campaign, digest, version, sealed)) = found else {
        return Ok(None);
    };
    let place = Place::Code {
        campaign,
        digest: &digest,
    };
    let plain = shared.seals.now().sealer.open(place, version, &sealed)?;
    // The error would quote the code.
    String::from_utf8(plain)
        .map(Some)
        .map_err(|_| inconsistent(format!("{place} is not text")))
}

fn points(conn: &Connection, id: AwardId) -> sql::Result<Option<i64>> {
    conn.prepare_cached("SELECT points FROM points_entry WHERE award_id = ?1")?
        .query_row([id.0], |row| row.get(0))
        .optional()
}

fn has_address(conn: &Connection, id: AwardId) -> sql::Result<bool> {
    conn.prepare_cached("SELECT EXISTS (SELECT 1 FROM address WHERE award_id = ?1)")?
        .query_row([id.0], |row| row.get(0))
}

fn shipment(conn: &Connection, id: AwardId) -> sql::Result<Option<Shipment>> {
    conn.prepare_cached("SELECT carrier, tracking, at FROM shipment WHERE award_id = ?1")?
        .query_row([id.0], |row| {
            Ok(Shipment {
                carrier: row.get(0)?,
                tracking: row.get(1)?,
                at: instant(row, 2)?,
            })
        })
        .optional()
}

/// Drawn here or adopted; published, as the row tells it; then the lines of the award's log.
fn timeline(conn: &Connection, fact: &AwardFact, more: &More) -> sql::Result<Vec<TimelineEntry>> {
    let began = match (&fact.adopted_from, more.order) {
        (Some(source), Some(order)) => TimelineEntry {
            detail: Some(format!("order {order} of {source}")),
            ..entry("adopted")
        },
        _ => entry("drawn"),
    };
    let mut timeline = vec![TimelineEntry {
        at: Some(fact.drawn_at),
        ..began
    }];
    if fact.mq_state == 1 {
        timeline.push(TimelineEntry {
            partition: more.partition,
            offset: more.offset,
            ..entry("published")
        });
    }
    let mut lines = conn
        .prepare_cached(
            "SELECT at, what, decision, state, due_at, lease, detail FROM attempt
             WHERE award_id = ?1 ORDER BY n DESC LIMIT ?2",
        )?
        .query_map([fact.id.0, as_column(TIMELINE_LINES_MAX as u64)], |row| {
            line(row, fact.kind)
        })?
        .collect::<sql::Result<Vec<_>>>()?;
    lines.reverse();
    timeline.append(&mut lines);
    Ok(timeline)
}

fn entry(what: &str) -> TimelineEntry {
    TimelineEntry {
        at: None,
        what: what.to_owned(),
        decision: None,
        state: None,
        due_at: None,
        lease: None,
        receipt: None,
        detail: None,
        partition: None,
        offset: None,
    }
}

fn line(row: &sql::Row<'_>, kind: Kind) -> sql::Result<TimelineEntry> {
    let what: String = row.get(1)?;
    let decision: String = row.get(2)?;
    let detail: Option<String> = row.get(6)?;
    let is_delivery = match decision.as_str() {
        "delivered" => what == "deliver" && kind == Kind::Webhook,
        "confirm" => true,
        _ => false,
    };
    let (receipt, detail) = if is_delivery {
        (detail, None)
    } else {
        (None, detail)
    };
    let place = detail
        .as_deref()
        .filter(|_| what == "publish")
        .and_then(place_of);
    Ok(TimelineEntry {
        at: Some(instant(row, 0)?),
        decision: Some(decision),
        state: Some(word(row, 3, State::parse)?),
        due_at: instant_or_null(row, 4)?,
        lease: Some(row.get(5)?),
        receipt,
        partition: place.map(|(partition, _)| partition),
        offset: place.map(|(_, offset)| offset),
        detail,
        ..entry(&what)
    })
}

/// Reads `partition 3 offset 17`, as the mark of a publish leaves it.
fn place_of(detail: &str) -> Option<(i32, i64)> {
    let detail = detail.strip_prefix("late: ").unwrap_or(detail);
    let (partition, offset) = detail.strip_prefix("partition ")?.split_once(" offset ")?;
    Some((partition.parse().ok()?, offset.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_shows_neither_length_nor_middle() {
        assert_eq!(mask("ABCDEFGH"), "AB••••GH");
        assert_eq!(mask("ABCD-EFGH-IJKL"), "AB••••KL");
        assert_eq!(mask("ABCDEFG"), "••••");
        assert_eq!(mask("礼礼礼礼礼礼礼礼"), "礼礼••••礼礼");
    }

    #[test]
    fn place_of_a_copy_is_read_from_its_line() {
        assert_eq!(place_of("partition 3 offset 17"), Some((3, 17)));
        assert_eq!(place_of("late: partition 3 offset 17"), Some((3, 17)));
        assert_eq!(place_of("message too large"), None);
    }
}
