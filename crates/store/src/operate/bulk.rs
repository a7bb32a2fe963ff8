//! Bulk actions: kept as rows, done in steps. A step looks at a bounded number of
//! awards in the order of their ids, does what the table allows with those that
//! fit, and moves the row's cursor in the same transaction: whoever dies between
//! two steps loses nothing and repeats nothing.

use super::erase;
use crate::Shared;
use crate::catalog::log;
use crate::facts::Known;
use crate::read::column::{as_column, award_id, count, instant, odd, word};
use crate::rows::{self, Line, Stored, What, Write};
use crate::sql::OrStoreError as _;
use crate::sql::{self, Connection, OptionalExtension, params};
use std::time::Duration;
use tombola_core::award::{Change, Event, Refusal, Row, State, Step};
use tombola_core::campaign::Kind;
use tombola_core::limits::{STEP_ROWS_MAX, STEP_ROWS_SEEN_MAX};
use tombola_core::ports::{
    Actor, BulkAction, BulkFilter, BulkSpec, Operation, OperationState, StoreResult,
};
use tombola_core::reason::{DeadReason, HoldReason};
use tombola_core::{AwardId, Timestamp};

/// Writes a bulk action down; nothing is changed yet.
pub(super) fn begin(
    conn: &Connection,
    mut spec: BulkSpec,
    by: &Actor,
    now: Timestamp,
) -> sql::Result<Operation> {
    if let BulkAction::Erase { pseudonym } = &spec.action {
        // Who it is stands in one place only, for as long as it has to.
        let user = spec.filter.user.take().unwrap_or_default();
        erase::begin(conn, &user, pseudonym)?;
    }
    let json = serde_json::to_string(&spec).map_err(|error| odd(0, error.to_string()))?;
    let id: i64 = conn
        .prepare_cached(
            "INSERT INTO operation (spec, actor, reason, state, created_at, updated_at)
             VALUES (?1, ?2, ?3, 'running', ?4, ?4) RETURNING id",
        )?
        .query_row(params![json, by.name, by.reason, now.0], |row| row.get(0))?;
    log_line(conn, by, &spec.action, id, now)?;
    Ok(Operation {
        id,
        spec,
        by: by.name.clone(),
        reason: by.reason.clone(),
        state: OperationState::Running,
        done: 0,
        in_doubt: 0,
        refused: 0,
        created_at: now,
        updated_at: now,
        after: None,
    })
}

fn log_line(
    conn: &Connection,
    by: &Actor,
    action: &BulkAction,
    id: i64,
    now: Timestamp,
) -> sql::Result<()> {
    let line = log::Line {
        action: &format!("bulk {}", action.name()),
        subject: &format!("operation {id}"),
        ..log::Line::default()
    };
    log::write(conn, by, now, line)
}

/// One step.
pub(super) fn step(
    conn: &Connection,
    shared: &Shared,
    id: i64,
    now: Timestamp,
) -> StoreResult<Option<Operation>> {
    let Some(mut it) = load(conn, id).or_store()? else {
        return Ok(None);
    };
    if it.state != OperationState::Running {
        return Ok(Some(it));
    }
    let is_over = match &it.spec.action {
        BulkAction::Erase { pseudonym } => {
            let after = it.after.map_or(0, |award| award.0);
            let stepped = erase::step(conn, shared, pseudonym, (after, it.done))?;
            it.done += stepped.draws;
            it.after = Some(AwardId(stepped.after));
            stepped.is_over
        }
        BulkAction::Requeue { .. } | BulkAction::Cancel { .. } | BulkAction::Release => {
            step_awards(conn, shared, &mut it, now)?
        }
    };
    if is_over {
        it.state = OperationState::Done;
    }
    it.updated_at = now;
    save(conn, &it).or_store()?;
    Ok(Some(it))
}

/// Stops it between two steps.
pub(crate) fn cancel(
    conn: &Connection,
    id: i64,
    by: &Actor,
    now: Timestamp,
) -> sql::Result<Option<Operation>> {
    let Some(mut it) = load(conn, id)? else {
        return Ok(None);
    };
    // An erasure that stopped half-way would leave a user in two halves.
    let is_erasure = matches!(it.spec.action, BulkAction::Erase { .. });
    if it.state == OperationState::Running && !is_erasure {
        it.state = OperationState::Cancelled;
        it.updated_at = now;
        save(conn, &it)?;
        let line = log::Line {
            action: "operation cancel",
            subject: &format!("operation {id}"),
            ..log::Line::default()
        };
        log::write(conn, by, now, line)?;
    }
    Ok(Some(it))
}

/// Those that are not over.
pub(crate) fn running(conn: &Connection) -> sql::Result<Vec<i64>> {
    conn.prepare_cached("SELECT id FROM operation WHERE state = 'running' ORDER BY id")?
        .query_map([], |row| row.get(0))?
        .collect()
}

/// The bulk action of that id.
pub(crate) fn load(conn: &Connection, id: i64) -> sql::Result<Option<Operation>> {
    conn.prepare_cached(
        "SELECT id, spec, actor, reason, state, done, in_doubt, refused, after, created_at, updated_at
         FROM operation WHERE id = ?1",
    )?
    .query_row([id], read)
    .optional()
}

/// Reads a row of the table.
pub(crate) fn read(row: &sql::Row<'_>) -> sql::Result<Operation> {
    Ok(Operation {
        id: row.get(0)?,
        spec: serde_json::from_str(row.text(1)?).map_err(|error| odd(1, error.to_string()))?,
        by: row.get(2)?,
        reason: row.get(3)?,
        state: word(row, 4, OperationState::parse)?,
        done: count(row, 5)?,
        in_doubt: count(row, 6)?,
        refused: count(row, 7)?,
        after: row.get::<_, Option<i64>>(8)?.map(AwardId),
        created_at: instant(row, 9)?,
        updated_at: instant(row, 10)?,
    })
}

fn save(conn: &Connection, it: &Operation) -> sql::Result<()> {
    conn.prepare_cached(
        "UPDATE operation SET state = ?2, done = ?3, in_doubt = ?4, refused = ?5, after = ?6, updated_at = ?7
         WHERE id = ?1",
    )?
    .execute(params![
        it.id,
        it.state.name(),
        as_column(it.done),
        as_column(it.in_doubt),
        as_column(it.refused),
        it.after.map(|award| award.0),
        it.updated_at.0,
    ])
    .map(drop)
}

/// Whether it has gone through all that fit.
fn step_awards(
    conn: &Connection,
    shared: &Shared,
    it: &mut Operation,
    now: Timestamp,
) -> StoreResult<bool> {
    let by = Actor {
        reason: it.reason.clone(),
        ..Actor::named(it.by.clone())
    };
    let mut seen = see(conn, &it.spec, it.after).or_store()?;
    let mut is_over = seen.len() < STEP_ROWS_SEEN_MAX;
    let fits = |(index, (_, fits)): (usize, &(AwardId, bool))| fits.then_some(index + 1);
    // The step ends behind the last award that it may change.
    if let Some(end) = seen
        .iter()
        .enumerate()
        .filter_map(fits)
        .nth(STEP_ROWS_MAX - 1)
    {
        is_over &= end == seen.len();
        seen.truncate(end);
    }
    let fitting = seen.iter().filter(|(_, fits)| *fits);
    let fitting: Vec<AwardId> = fitting.map(|(award, _)| *award).collect();
    act_on(conn, shared, it, &fitting, &by, now)?;
    it.after = seen.last().map(|(award, _)| *award).or(it.after);
    Ok(is_over)
}

/// The next awards, and whether each fits. Dead letters and holds have indexes of their own, so
/// only those are looked at; awards in other states lie among all that have ended, of which a step
/// looks at so many and no more.
fn see(
    conn: &Connection,
    spec: &BulkSpec,
    after: Option<AwardId>,
) -> sql::Result<Vec<(AwardId, bool)>> {
    let states = states(spec);
    let sql = match &spec.action {
        BulkAction::Requeue { .. } | BulkAction::Release => format!(
            "SELECT v.award_id, {FITS}
             FROM delivery v JOIN draw d ON d.id = v.award_id
               JOIN prize p ON p.id = v.prize_id JOIN campaign c ON c.id = p.campaign_id
             WHERE {states} AND v.award_id > ?1 ORDER BY v.award_id LIMIT ?10"
        ),
        BulkAction::Cancel { .. } | BulkAction::Erase { .. } => format!(
            "SELECT v.award_id, COALESCE({states} AND {FITS}, 1 = 0)
             FROM (SELECT * FROM delivery WHERE award_id > ?1 ORDER BY award_id LIMIT ?10) AS v
               LEFT JOIN draw d ON d.id = v.award_id
               LEFT JOIN prize p ON p.id = v.prize_id LEFT JOIN campaign c ON c.id = p.campaign_id
             ORDER BY v.award_id"
        ),
    };
    let filter = &spec.filter;
    conn.prepare_cached(&sql)?
        .query_map(
            params![
                after.map_or(0, |award| award.0),
                filter.campaign,
                filter.prize,
                filter.user,
                filter.kind.map(Kind::name),
                filter.state.map(State::name),
                filter.hold_reason.map(HoldReason::name),
                filter.reason.map(DeadReason::name),
                filter.since.map(|since| since.0),
                as_column(STEP_ROWS_SEEN_MAX as u64),
            ],
            |row| Ok((award_id(row, 0)?, row.get(1)?)),
        )?
        .collect()
}

const FITS: &str = "(CAST(?2 AS TEXT) IS NULL OR c.slug = ?2) AND (CAST(?3 AS TEXT) IS NULL OR p.slug = ?3)
  AND (CAST(?4 AS TEXT) IS NULL OR d.user = ?4) AND (CAST(?5 AS TEXT) IS NULL OR v.kind = ?5) AND (CAST(?6 AS TEXT) IS NULL OR v.state = ?6)
  AND (CAST(?7 AS TEXT) IS NULL OR v.hold_reason IS NOT DISTINCT FROM ?7) AND (CAST(?8 AS TEXT) IS NULL OR v.dead_reason IS NOT DISTINCT FROM ?8)
  AND (CAST(?9 AS INTEGER) IS NULL OR d.drawn_at >= ?9)";

/// The states that are looked at, so written that a partial index serves them.
fn states(spec: &BulkSpec) -> &'static str {
    match &spec.action {
        BulkAction::Requeue { .. } => "v.state = 'dead'",
        BulkAction::Release => "v.hold_reason IN ('manual', 'scheduled')",
        BulkAction::Cancel { .. } | BulkAction::Erase { .. } => {
            "v.state IN ('pending', 'retryable', 'held', 'dead')"
        }
    }
}

/// How many awards a bulk action would look at, and how many of them are in doubt.
pub(crate) fn count_matching(conn: &Connection, spec: &BulkSpec) -> sql::Result<(u64, u64)> {
    let sql = format!(
        "SELECT count(*), count(*) FILTER (WHERE v.in_doubt)
         FROM delivery v JOIN draw d ON d.id = v.award_id
           JOIN prize p ON p.id = v.prize_id JOIN campaign c ON c.id = p.campaign_id
         WHERE {} AND v.award_id > ?1 AND {FITS}",
        states(spec)
    );
    let filter = &spec.filter;
    conn.prepare_cached(&sql)?.query_row(
        params![
            0,
            filter.campaign,
            filter.prize,
            filter.user,
            filter.kind.map(Kind::name),
            filter.state.map(State::name),
            filter.hold_reason.map(HoldReason::name),
            filter.reason.map(DeadReason::name),
            filter.since.map(|since| since.0),
        ],
        |row| Ok((count(row, 0)?, count(row, 1)?)),
    )
}

/// Does to each of these awards what the table allows, and counts it.
fn act_on(
    conn: &Connection,
    shared: &Shared,
    it: &mut Operation,
    awards: &[AwardId],
    by: &Actor,
    now: Timestamp,
) -> StoreResult<()> {
    let rows = rows::load_all(conn, awards)?;
    it.refused += (awards.len() - rows.len()) as u64;
    let known = match it.spec.action {
        BulkAction::Release => Known::default(),
        BulkAction::Requeue { .. } | BulkAction::Cancel { .. } | BulkAction::Erase { .. } => {
            Known::load(conn, shared, &rows)?
        }
    };
    let mut changes = Vec::with_capacity(rows.len());
    for stored in &rows {
        // It was looked at before it was locked.
        if !still_fits(&it.spec, &stored.row) {
            it.refused += 1;
            continue;
        }
        let Some(event) = event_of(it, stored.row.hold_reason, now) else {
            it.refused += 1;
            continue;
        };
        match known.ask(shared, &stored.row, &event, now)? {
            Step::Changed(change) => {
                it.done += 1;
                changes.push((stored, change));
            }
            Step::Refused(Refusal::OutcomeUnknown) => it.in_doubt += 1,
            Step::Refused(Refusal::Delivering { .. } | Refusal::WrongState { .. })
            | Step::Late
            | Step::Same => it.refused += 1,
        }
    }
    write(conn, it, &changes, by, now)
}

/// Of what the filter asks, whether what moves is still so.
fn still_fits(spec: &BulkSpec, row: &Row) -> bool {
    let filter = &spec.filter;
    filter.state.is_none_or(|state| state == row.state)
        && (filter.hold_reason.is_none() || filter.hold_reason == row.hold_reason)
        && (filter.reason.is_none() || filter.reason == row.dead_reason)
}

fn write(
    conn: &Connection,
    it: &Operation,
    changes: &[(&Stored, Box<Change>)],
    by: &Actor,
    now: Timestamp,
) -> StoreResult<()> {
    let name = it.spec.action.name();
    let write = |(before, change)| Write {
        before,
        change,
        now,
        by: &by.name,
        line: Some(Line::new(What::Operator, before.row.lease, name).with(by.reason.as_deref())),
    };
    let writes = changes.iter().map(|(before, change)| (*before, &**change));
    let writes: Vec<Write<'_>> = writes.map(write).collect();
    if matches!(it.spec.action, BulkAction::Cancel { .. }) {
        let awards: Vec<AwardId> = changes.iter().map(|(it, _)| it.row.award).collect();
        super::act::void_codes(conn, &awards, now).or_store()?;
    }
    rows::apply_all(conn, &writes)?;
    let line = |(before, _): &(&Stored, Box<Change>)| {
        let award = before.row.award;
        (award, format!("award {award}, operation {}", it.id))
    };
    let lines: Vec<(AwardId, String)> = changes.iter().map(line).collect();
    log::write_each(conn, by, now, &format!("award {name}"), &lines).or_store()
}

fn event_of(it: &Operation, held: Option<HoldReason>, now: Timestamp) -> Option<Event> {
    match &it.spec.action {
        BulkAction::Requeue {
            not_delivered,
            over_secs,
        } => Some(Event::Requeue {
            not_delivered: *not_delivered,
            due_at: spread(it, *over_secs, now),
        }),
        BulkAction::Cancel { return_stock } => Some(Event::Cancel {
            return_stock: *return_stock,
        }),
        BulkAction::Release => match held {
            Some(reason @ (HoldReason::Manual | HoldReason::Scheduled)) => {
                Some(Event::End { reason })
            }
            _ => None,
        },
        BulkAction::Erase { .. } => None,
    }
}

/// Evenly from the beginning of the operation on; what its own steps took is not
/// waited for again.
fn spread(it: &Operation, over_secs: u64, now: Timestamp) -> Timestamp {
    let matched = it.spec.matched.max(it.done + 1);
    let share = u128::from(over_secs) * 1_000_000 * u128::from(it.done) / u128::from(matched);
    let share = Duration::from_micros(u64::try_from(share).unwrap_or(u64::MAX));
    it.created_at.plus(share).max(now)
}

/// Whether a filter can be meant: a prize needs its campaign.
pub(super) fn is_filter(filter: &BulkFilter) -> bool {
    filter.prize.is_none() || filter.campaign.is_some()
}
