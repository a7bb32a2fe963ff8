//! What the members of a batch change, gathered in memory, and the one trip that
//! writes it.
//!
//! Rows are locked, and the update is guarded by lease and state all the same: a row
//! that moved under a lock is an error of that row, which is then found and answered
//! alone.

use super::super::error::{get, inconsistent};
use super::super::session::{Params, Work};
use super::codes::Codes;
use super::columns::{Rows, Stored};
use super::hand::Locked;
use super::lines::Lines;
use std::collections::{BTreeMap, HashMap};
use tokio_postgres::Row as Columns;
use tombola_core::award::{Change, Row};
use tombola_core::ports::StoreResult;
use tombola_core::{AwardId, Timestamp};

/// The savepoint before whatever a batch writes.
const BEGIN: &str = "SAVEPOINT apart";
/// Back to it, and away with it.
pub(super) const UNDO: &str = "ROLLBACK TO SAVEPOINT apart; RELEASE SAVEPOINT apart";

/// Changes that are not written yet.
#[derive(Default)]
pub(super) struct Staged {
    rows: BTreeMap<AwardId, Row>,
    pub(super) lines: Lines,
    credits: Credits,
    /// Codes and the awards that have them, with the prize that each is of.
    codes: Vec<(i64, i64, AwardId)>,
    stock_back: StockBack,
}

#[derive(Default)]
struct Credits {
    award: Vec<i64>,
    user: Vec<String>,
    points: Vec<i64>,
}

#[derive(Default)]
struct StockBack {
    award: Vec<i64>,
    prize: Vec<i64>,
    by: Vec<&'static str>,
    reason: Vec<&'static str>,
}

impl Staged {
    /// The row as the members before left it.
    pub(super) fn row(&self, award: AwardId) -> Option<&Row> {
        self.rows.get(&award)
    }

    pub(super) fn change(&mut self, before: &Stored, change: &Change, by: &'static str) {
        self.rows.insert(change.row.award, change.row.clone());
        if change.stock_back {
            self.stock_back.award.push(change.row.award.0);
            self.stock_back.prize.push(before.prize_id);
            self.stock_back.by.push(by);
            self.stock_back.reason.push(change.row.state.name());
        }
    }

    /// One credit an award: the key of the ledger is the award.
    pub(super) fn credit(&mut self, award: AwardId, user: &str, points: i64) {
        self.credits.award.push(award.0);
        self.credits.user.push(user.to_owned());
        self.credits.points.push(points);
    }

    /// Codes of that prize that are bound already.
    pub(super) fn bound(&self, prize: i64) -> usize {
        self.codes.iter().filter(|(it, _, _)| *it == prize).count()
    }

    pub(super) fn bind(&mut self, prize: i64, code: i64, award: AwardId) {
        self.codes.push((prize, code, award));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.lines.is_empty()
    }

    /// The changed rows; the codes that were bound are no longer there to be given.
    pub(super) fn into_rows(self, codes: &mut Codes) -> BTreeMap<AwardId, Row> {
        for (prize, _, _) in self.codes {
            codes.spend(prize);
        }
        self.rows
    }

    /// Writes all of it behind a savepoint, in one trip.
    pub(super) async fn write(
        &self,
        work: &Work<'_>,
        locked: &Locked,
        now: Timestamp,
    ) -> StoreResult<()> {
        if self.is_empty() {
            return Ok(());
        }
        tokio::try_join!(
            biased;
            work.run(BEGIN),
            self.move_rows(work, locked, now),
            self.lines.insert(work, now),
            self.credits.insert(work, now),
            self.stock_back.write(work, now),
            self.bind_codes(work),
        )
        .map(drop)
    }

    async fn move_rows(&self, work: &Work<'_>, locked: &Locked, now: Timestamp) -> StoreResult<()> {
        let mut rows = Rows::default();
        let (mut ended_at, mut states, mut leases) = (Vec::new(), Vec::new(), Vec::new());
        for (award, row) in &self.rows {
            let Some(before) = locked.get(*award)? else {
                return Err(inconsistent(format!("award {award} is not in hand")));
            };
            rows.push(row);
            ended_at.push(row.state.is_final().then_some(now.0));
            states.push(before.row.state.name());
            leases.push(before.row.lease);
        }
        if rows.is_empty() {
            return Ok(());
        }
        let params = rows.params(&[&ended_at, &states, &leases]);
        let moved = work.query(&work.sql.move_rows, &params).await?;
        all_of(&moved, self.rows.len(), "awards moved by themselves")
    }

    async fn bind_codes(&self, work: &Work<'_>) -> StoreResult<()> {
        if self.codes.is_empty() {
            return Ok(());
        }
        let codes: Vec<i64> = self.codes.iter().map(|(_, code, _)| *code).collect();
        let awards: Vec<i64> = self.codes.iter().map(|(_, _, award)| award.0).collect();
        let sql = &work.sql.bind_codes;
        let bound = work.query(sql, &[&codes, &awards]).await?;
        all_of(&bound, codes.len(), "codes were given while in hand")
    }
}

impl Credits {
    async fn insert(&self, work: &Work<'_>, now: Timestamp) -> StoreResult<()> {
        if self.award.is_empty() {
            return Ok(());
        }
        let sql = &work.sql.insert_credits;
        work.execute(sql, &[&now.0, &self.award, &self.user, &self.points])
            .await
    }
}

impl StockBack {
    /// The prizes are locked in their order first.
    async fn write(&self, work: &Work<'_>, now: Timestamp) -> StoreResult<()> {
        if self.award.is_empty() {
            return Ok(());
        }
        let mut units: HashMap<i64, i64> = HashMap::new();
        for prize in &self.prize {
            *units.entry(*prize).or_default() += 1;
        }
        let (prizes, units): (Vec<i64>, Vec<i64>) = units.into_iter().unzip();
        let of_prizes: Params<'_> = &[&prizes];
        let of_units: Params<'_> = &[&prizes, &units];
        let of_log: Params<'_> = &[&now.0, &self.award, &self.prize, &self.by, &self.reason];
        let (_, given, ()) = tokio::try_join!(
            biased;
            work.query(&work.sql.lock_given_prizes, of_prizes),
            work.query(&work.sql.give_stock_back, of_units),
            work.execute(&work.sql.log_stock_back, of_log),
        )?;
        all_of(&given, prizes.len(), "awards spent no unit of their prize")
    }
}

fn all_of(changed: &[Columns], expected: usize, what: &str) -> StoreResult<()> {
    if changed.len() == expected {
        return Ok(());
    }
    let ids: StoreResult<Vec<i64>> = changed.iter().map(|row| get(row, 0)).collect();
    Err(inconsistent(format!(
        "{what}: of {expected} only {:?}",
        ids?
    )))
}
