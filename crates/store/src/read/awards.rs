//! Awards: the list that people search in.

use super::column::{award_id, count, instant, instant_or_null, odd, text, word, word_or_null};
use super::page::{Cuts, Page, PageQuery};
use super::walk::{Conditions, Index, Reach, Within, of_user, page_of, spans, spans_of_user};
use crate::Store;
use crate::sql::OrStoreError as _;
use crate::sql::Value;
use crate::sql::{self, Connection, Row, params_from_iter};
use serde::{Deserialize, Serialize};
use tombola_core::award::{MqState, State};
use tombola_core::campaign::Kind;
use tombola_core::ports::StoreResult;
use tombola_core::reason::{DeadReason, HoldReason};
use tombola_core::{AwardId, Timestamp};

/// One award as lists show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AwardFact {
    /// Its id; that of its draw too.
    pub id: AwardId,
    /// The campaign's slug.
    pub campaign: String,
    /// Who won.
    pub user: String,
    /// The prize's slug.
    pub prize: String,
    /// How it is delivered.
    pub kind: Kind,
    /// Where it stands.
    pub state: State,
    /// Why it waits, if it is held.
    pub hold_reason: Option<HoldReason>,
    /// Why it was given up on, if it is dead.
    pub dead_reason: Option<DeadReason>,
    /// 0 not sent, 1 sent, 2 send failed.
    #[cfg_attr(feature = "schema", schemars(range(max = 2)))]
    pub mq_state: u8,
    /// 0 unfinished, 1 delivered, 2 dead or cancelled.
    #[cfg_attr(feature = "schema", schemars(range(max = 2)))]
    pub grant_state: u8,
    /// Whether an effect may exist that was not recorded.
    pub in_doubt: bool,
    /// When it is looked at again; of a delivery in hand, when its lease ends.
    pub due_at: Option<Timestamp>,
    /// Attempts begun since the draw or the last requeue.
    pub attempts: u64,
    /// When it was won.
    pub drawn_at: Timestamp,
    /// When it came into its final state.
    pub ended_at: Option<Timestamp>,
    /// The system that drew it, where that was another one and its award was adopted.
    pub adopted_from: Option<String>,
}

/// Which awards; an absent field matches all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AwardFilter {
    /// Of this campaign.
    pub campaign: Option<String>,
    /// Of this user.
    pub user: Option<String>,
    /// In this state.
    pub state: Option<State>,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// Of this prize, by its slug.
    pub prize: Option<String>,
    /// Held for this reason.
    pub hold_reason: Option<HoldReason>,
    /// Given up on for this reason.
    pub dead_reason: Option<DeadReason>,
    /// To be delivered by this endpoint, by its name.
    pub endpoint: Option<String>,
    /// Drawn since then.
    pub since: Option<Timestamp>,
    /// Drawn before then.
    pub until: Option<Timestamp>,
}

impl Store {
    /// Awards, newest first.
    pub async fn award_list(
        &self,
        filter: AwardFilter,
        page: PageQuery,
    ) -> StoreResult<Page<AwardFact>> {
        self.read(move |conn| list(conn, &filter, page, Reach::default()).or_store())
            .await
    }
}

/// What [`fact`] reads, in its order.
pub(super) const COLUMNS: &str =
    "v.award_id, c.slug, d.user, p.slug, v.kind, v.state, v.hold_reason,
  v.dead_reason, v.mq_state, v.in_doubt, v.due_at, v.attempts, d.drawn_at, v.ended_at,
  (SELECT a.source FROM adopted a WHERE a.award_id = v.award_id)";

/// The other tables that [`COLUMNS`] names, found by the award's row `v`.
pub(super) const JOINS: &str = "CROSS JOIN draw d ON d.id = v.award_id
  CROSS JOIN prize p ON p.id = v.prize_id CROSS JOIN campaign c ON c.id = p.campaign_id";

/// The draws of a cut, said again: PostgreSQL infers no range of an equal column, and
/// where it reads the draws first it would read all of them.
pub(super) const SAME_DRAWS: &str = " AND d.id >= ?1 AND d.id < ?2";

/// The same, found by the draw's row.
const JOINS_OF_DRAW: &str = "CROSS JOIN delivery v ON v.award_id = d.id
  CROSS JOIN prize p ON p.id = v.prize_id CROSS JOIN campaign c ON c.id = p.campaign_id";

/// By which ids the awards of a filter are walked.
#[derive(Debug)]
pub(super) enum Way {
    /// Along an index that has them in order.
    Index(Index),
    /// What a user won, span by span.
    User,
    /// All that are unfinished, put in order: they are few.
    Due,
    /// All awards from the newest, past the spans that hold none of them.
    Table,
}

impl Way {
    pub(super) fn of(conn: &Connection, filter: &AwardFilter, reach: Reach) -> sql::Result<Self> {
        // A user's come first: those are the fewest.
        if filter.user.is_some() {
            return Ok(Self::User);
        }
        if let Some(index) = index_of(filter) {
            return Ok(Self::Index(index));
        }
        let is_unfinished = filter.state.is_some_and(|state| !state.is_final());
        Ok(if is_unfinished && are_few_due(conn, filter, reach)? {
            Self::Due
        } else {
            Self::Table
        })
    }

    fn cuts(
        &self,
        conn: &Connection,
        filter: &AwardFilter,
        below: i64,
        reach: Reach,
    ) -> sql::Result<Cuts> {
        let within = Within {
            campaign: filter.campaign.as_deref(),
            period: (filter.since, filter.until),
        };
        match (self, &filter.user) {
            (Self::Index(index), _) => index.cuts(conn, below, reach),
            (Self::Due, _) => Ok(Cuts::one(i64::MIN, below, false)),
            (Self::User, Some(user)) => spans_of_user(conn, user, within, below, reach),
            (Self::User, None) | (Self::Table, _) => spans(conn, within, below, reach),
        }
    }

    /// The statement of one cut, less its values: places from, below, the filter's,
    /// the number of rows.
    pub(super) fn statement(&self, filter: &AwardFilter) -> (String, Vec<Value>) {
        let (table, joins, id, mut fits) = match self {
            Self::User => {
                let table = "draw d INDEXED BY draw_user";
                (table, JOINS_OF_DRAW, "d.id", of_user())
            }
            Self::Index(index) => (index.table, JOINS, index.id, index.fixed.clone()),
            Self::Due => {
                let mut due = Conditions::default();
                due.always("v.due_at IS NOT NULL");
                let table = "delivery v INDEXED BY delivery_due";
                (table, JOINS, "v.award_id", due)
            }
            Self::Table => {
                let table = "delivery v NOT INDEXED";
                (table, JOINS, "v.award_id", Conditions::default())
            }
        };
        narrow(&mut fits, filter);
        let sql = format!(
            "SELECT {COLUMNS} FROM {table} {joins} WHERE {id} >= ? AND {id} < ?{SAME_DRAWS}{}
             ORDER BY {id} DESC LIMIT ?",
            fits.sql
        );
        (sql, fits.values)
    }
}

/// The index that has the awards of this filter in order, if there is one.
fn index_of(filter: &AwardFilter) -> Option<Index> {
    let index = |table, condition: &str, value: Option<&str>| {
        let mut fixed = Conditions::default();
        match value {
            Some(value) => fixed.value(condition, Some(value.to_owned())),
            None => fixed.always(condition),
        }
        let id = "v.award_id";
        Index { table, id, fixed }
    };
    if let Some(reason) = filter.dead_reason {
        let table = "delivery v INDEXED BY delivery_dead_reason";
        return Some(index(table, "v.dead_reason = ?", Some(reason.name())));
    }
    if let Some(reason) = filter.hold_reason {
        let table = "delivery v INDEXED BY delivery_held";
        return Some(index(table, "v.hold_reason = ?", Some(reason.name())));
    }
    match filter.state? {
        State::Dead => {
            let table = "delivery v INDEXED BY delivery_dead";
            Some(index(table, "v.state = 'dead'", None))
        }
        State::Cancelled => {
            let table = "delivery v INDEXED BY delivery_cancelled";
            Some(index(table, "v.state = 'cancelled'", None))
        }
        State::Pending | State::Delivering | State::Retryable | State::Held | State::Delivered => {
            None
        }
    }
}

const ENDPOINT: &str = "v.lane = (SELECT lane FROM endpoint WHERE name = ?)";

fn are_few_due(conn: &Connection, filter: &AwardFilter, reach: Reach) -> sql::Result<bool> {
    let mut fits = Conditions::default();
    fits.value(ENDPOINT, filter.endpoint.clone());
    let sql = format!(
        "SELECT count(*) FROM (SELECT 1 FROM delivery v INDEXED BY delivery_due
         WHERE v.due_at IS NOT NULL{} LIMIT ?) AS due",
        fits.sql
    );
    fits.values.push(Value::from(reach.sorted + 1));
    let due: i64 = conn
        .prepare_cached(&sql)?
        .query_row(params_from_iter(fits.values), |row| row.get(0))?;
    Ok(due <= reach.sorted)
}

fn narrow(fits: &mut Conditions, filter: &AwardFilter) {
    fits.value("v.state = ?", filter.state.map(text(State::name)));
    fits.value("v.kind = ?", filter.kind.map(text(Kind::name)));
    fits.value(
        "v.hold_reason = ?",
        filter.hold_reason.map(text(HoldReason::name)),
    );
    fits.value(
        "v.dead_reason = ?",
        filter.dead_reason.map(text(DeadReason::name)),
    );
    fits.value(ENDPOINT, filter.endpoint.clone());
    fits.value(
        "v.prize_id IN (SELECT id FROM prize WHERE slug = ?)",
        filter.prize.clone(),
    );
    fits.value(
        "v.prize_id IN (SELECT id FROM prize WHERE campaign_id = (SELECT id FROM campaign WHERE slug = ?))",
        filter.campaign.clone(),
    );
    fits.value("d.user = ?", filter.user.clone());
    fits.period("d.drawn_at", (filter.since, filter.until));
}

pub(super) fn list(
    conn: &Connection,
    filter: &AwardFilter,
    page: PageQuery,
    reach: Reach,
) -> sql::Result<Page<AwardFact>> {
    let way = Way::of(conn, filter, reach)?;
    let cuts = way.cuts(conn, filter, page.below(), reach)?;
    let (sql, values) = way.statement(filter);
    page_of(conn, (&sql, &values), (page, cuts), fact, |award| {
        award.id.0
    })
}

/// One row of [`COLUMNS`].
pub(super) fn fact(row: &Row<'_>) -> sql::Result<AwardFact> {
    let state = word(row, 5, State::parse)?;
    let mq_state = row.get::<_, u8>(8)?;
    Ok(AwardFact {
        id: award_id(row, 0)?,
        campaign: row.get(1)?,
        user: row.get(2)?,
        prize: row.get(3)?,
        kind: word(row, 4, Kind::parse)?,
        state,
        hold_reason: word_or_null(row, 6, HoldReason::parse)?,
        dead_reason: word_or_null(row, 7, DeadReason::parse)?,
        mq_state: MqState::from_code(mq_state)
            .ok_or_else(|| odd(8, "no such mq_state"))?
            .code(),
        grant_state: state.grant_state(),
        in_doubt: row.get(9)?,
        due_at: instant_or_null(row, 10)?,
        attempts: count(row, 11)?,
        drawn_at: instant(row, 12)?,
        ended_at: instant_or_null(row, 13)?,
        adopted_from: row.get(14)?,
    })
}
