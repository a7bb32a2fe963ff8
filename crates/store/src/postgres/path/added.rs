//! What a decided batch writes: counters, draws and deliveries. All of it is new, or behind
//! the campaign's lock.

use super::super::session::{Param, Params, Work};
use super::columns::{Draws, Rows};
use super::tally::Tally;
use super::versions::Version;
use std::collections::{BTreeMap, BTreeSet};
use tombola_core::Timestamp;
use tombola_core::award::Row;
use tombola_core::campaign::Limits;
use tombola_core::draw::{DrawRequest, NewDraw};
use tombola_core::limits::{SPAN_GRAIN, SPAN_IDS};
use tombola_core::ports::StoreResult;
use tombola_core::time::CivilDay;

/// The campaign's id, the instant of the batch and its civil day.
pub(super) type At = (i64, Timestamp, CivilDay);

/// The rows of one batch.
pub(super) struct Added<'a> {
    version: &'a Version,
    /// What no user may have drawn more than, in all and on a day.
    limits: (i64, i64),
    draws: Draws<'a>,
    drawn: i64,
    /// Spans of ids that the draws are in.
    spans: BTreeSet<i64>,
    /// Draws by user.
    used: BTreeMap<&'a str, i64>,
    /// Wins by prize.
    won: BTreeMap<i64, i64>,
    /// Wins by prize and user, only of prizes with `per_user_wins`.
    wins: BTreeMap<(i64, &'a str), i64>,
    deliveries: Deliveries,
}

/// Delivery rows, and the columns that never change after this.
#[derive(Default)]
struct Deliveries {
    rows: Rows,
    prize_id: Vec<i64>,
    kind: Vec<&'static str>,
    lane: Vec<i64>,
    message_id: Vec<String>,
    delivery_key: Vec<String>,
}

impl<'a> Added<'a> {
    /// Draws that others made are counted without limits.
    pub(super) fn new(version: &'a Version, limits: Option<&Limits>) -> Self {
        let max = |limit: Option<u64>| i64::try_from(limit.unwrap_or(u64::MAX)).unwrap_or(i64::MAX);
        let limits = limits.map(|it| (max(it.per_user_total), max(it.per_user_per_day)));
        Self {
            version,
            limits: limits.unwrap_or((i64::MAX, i64::MAX)),
            draws: Draws::default(),
            drawn: 0,
            spans: BTreeSet::new(),
            used: BTreeMap::new(),
            won: BTreeMap::new(),
            wins: BTreeMap::new(),
            deliveries: Deliveries::default(),
        }
    }

    /// Adds what a request drew.
    pub(super) fn add(
        &mut self,
        request: &'a DrawRequest,
        draws: &'a [NewDraw],
    ) -> StoreResult<()> {
        for draw in draws {
            let prize_id = draw
                .prize
                .map(|index| self.version.prize_id(index))
                .transpose()?;
            self.draws.push(request, draw, prize_id);
            self.drawn += 1;
            self.spans.insert(draw.ticket.id.0 / SPAN_IDS);
            *self.used.entry(&request.user).or_default() += 1;
            if let (Some(prize_id), Some(index), Some(row)) = (prize_id, draw.prize, &draw.award) {
                *self.won.entry(prize_id).or_default() += 1;
                if self.version.rules.prizes[index].per_user_wins.is_some() {
                    *self.wins.entry((prize_id, &request.user)).or_default() += 1;
                }
                self.deliveries.push(draw, row, prize_id);
            }
        }
        Ok(())
    }

    /// Everything in one trip to the server. The order does not matter: what is
    /// updated is behind the campaign's lock.
    pub(super) async fn write(&self, work: &Work<'_>, at: At, before: &Tally) -> StoreResult<()> {
        let (campaign, _, day) = at;
        let tally = before.after(day, self.drawn, &self.won);
        tokio::try_join!(
            biased;
            tally.write(work, campaign),
            self.add_used(work, at),
            self.insert_draws(work, at),
            self.deliveries.insert(work),
            self.add_wins(work),
            self.add_spans(work, at),
        )
        .map(drop)
    }

    /// Lets lists find the draws of a span of ids by campaign and time. What this connection
    /// wrote before is not written again.
    async fn add_spans(&self, work: &Work<'_>, at: At) -> StoreResult<()> {
        let spans = self.spans_at(at).filter(|span| !work.spans.has(*span));
        let spans: Vec<i64> = spans.map(|(_, span, _)| span).collect();
        if spans.is_empty() {
            return Ok(());
        }
        let from_at = from_at(at);
        let params: Params<'_> = &[&at.0, &spans, &from_at, &from_at.saturating_add(grain())];
        work.execute(&work.sql.add_spans, params).await
    }

    fn spans_at(&self, at: At) -> impl Iterator<Item = (i64, i64, i64)> {
        self.spans
            .iter()
            .map(move |span| (at.0, *span, from_at(at)))
    }

    /// What need not be written again once this is committed.
    pub(super) fn committed(&self, work: &Work<'_>, at: At) {
        work.spans.keep(self.spans_at(at));
    }

    async fn add_used(&self, work: &Work<'_>, (campaign, _, day): At) -> StoreResult<()> {
        let (users, drawn): (Vec<&str>, Vec<i64>) = self.used.iter().unzip();
        let (total_max, day_max) = self.limits;
        let params: Params<'_> = &[&campaign, &users, &drawn, &day.0, &total_max, &day_max];
        work.execute(&work.sql.add_used, params).await
    }

    async fn insert_draws(&self, work: &Work<'_>, (campaign, now, day): At) -> StoreResult<()> {
        let shared = [&campaign as Param<'_>, &self.version.number, &now.0, &day.0];
        work.execute(&work.sql.insert_draws, &self.draws.params(shared))
            .await
    }

    async fn add_wins(&self, work: &Work<'_>) -> StoreResult<()> {
        if self.wins.is_empty() {
            return Ok(());
        }
        let (prizes, users): (Vec<i64>, Vec<&str>) = self.wins.keys().copied().unzip();
        let wins: Vec<i64> = self.wins.values().copied().collect();
        work.execute(&work.sql.add_wins, &[&prizes, &users, &wins])
            .await
    }
}

/// Of the stretch of time that the instant is in, where it begins.
fn from_at((_, now, _): At) -> i64 {
    now.0.div_euclid(grain()).saturating_mul(grain())
}

fn grain() -> i64 {
    i64::try_from(SPAN_GRAIN.as_micros()).unwrap_or(i64::MAX)
}

impl Deliveries {
    fn push(&mut self, draw: &NewDraw, row: &Row, prize_id: i64) {
        self.rows.push(row);
        self.prize_id.push(prize_id);
        self.kind.push(row.kind.name());
        self.lane.push(row.lane);
        self.message_id.push(draw.message_id());
        self.delivery_key.push(draw.delivery_key());
    }

    async fn insert(&self, work: &Work<'_>) -> StoreResult<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let params = self.rows.params(&[
            &self.prize_id,
            &self.kind,
            &self.lane,
            &self.message_id,
            &self.delivery_key,
        ]);
        work.execute(&work.sql.insert_deliveries, &params).await
    }
}
