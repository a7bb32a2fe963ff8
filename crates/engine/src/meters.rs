//! What the engine counts: plain atomics that exist from the start, at zero. The
//! server turns them into text; the engine knows no exporter.

use crate::breaker::BreakerState;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tombola_core::award::State;
use tombola_core::campaign::Kind;
use tombola_core::decision::DecisionName;
use tombola_core::limits;
use tombola_core::ports::GroupPosition;

/// The label of campaigns without a series of their own.
pub(crate) const OTHER: &str = "other";

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn one(&self) {
        self.add(1);
    }

    /// `count` more.
    pub fn add(&self, count: usize) {
        self.0
            .fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How many.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How draws ended, as the label `outcome`.
#[derive(Debug, Default)]
pub struct DrawCounters {
    /// A prize.
    pub won: Counter,
    /// Nothing.
    pub nothing: Counter,
    /// Answered from an earlier commit under the same request key.
    pub replayed: Counter,
    /// Refused by a rule.
    pub refused: Counter,
    /// Not chosen at all: too much waits.
    pub overloaded: Counter,
    /// The store failed.
    pub failed: Counter,
}

impl DrawCounters {
    /// By label.
    pub fn each(&self) -> [(&'static str, u64); 6] {
        [
            ("won", self.won.get()),
            ("nothing", self.nothing.get()),
            ("replayed", self.replayed.get()),
            ("refused", self.refused.get()),
            ("overloaded", self.overloaded.get()),
            ("failed", self.failed.get()),
        ]
    }
}

/// What the broker said of publishes, as the label `result`.
#[derive(Debug, Default)]
pub struct PublishCounters {
    /// It is on the topic.
    pub taken: Counter,
    /// It is surely not.
    pub not_taken: Counter,
    /// Nobody knows.
    pub unknown: Counter,
    /// It never will be.
    pub refused: Counter,
}

impl PublishCounters {
    /// By label.
    pub fn each(&self) -> [(&'static str, u64); 4] {
        [
            ("taken", self.taken.get()),
            ("not_taken", self.not_taken.get()),
            ("unknown", self.unknown.get()),
            ("refused", self.refused.get()),
        ]
    }
}

/// Upper bounds of the buckets of [`Meters::draw_seconds`].
pub const SECONDS: &[f64] = &[
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0,
];
/// Upper bounds of the buckets of [`Meters::draw_batch_size`].
pub const SIZES: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0];

/// A distribution over fixed buckets. Its sum is kept in millionths.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    buckets: Vec<Counter>,
    millionths: AtomicU64,
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        let buckets = (0..=bounds.len()).map(|_| Counter::default()).collect();
        Self {
            bounds,
            buckets,
            millionths: AtomicU64::new(0),
        }
    }

    /// Notes a span, in seconds.
    pub fn observe_span(&self, span: Duration) {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        self.observe(span.as_secs_f64(), micros);
    }

    /// Notes a count.
    pub fn observe_count(&self, count: u32) {
        self.observe(f64::from(count), u64::from(count) * 1_000_000);
    }

    fn observe(&self, value: f64, millionths: u64) {
        let index = self.bounds.partition_point(|bound| *bound < value);
        self.buckets[index].one();
        self.millionths.fetch_add(millionths, Ordering::Relaxed);
    }

    /// Upper bounds with the count at or below each, then the count of all.
    pub fn cumulative(&self) -> (Vec<(f64, u64)>, u64) {
        let mut sum = 0;
        let below = self
            .bounds
            .iter()
            .zip(&self.buckets)
            .map(|(bound, bucket)| {
                sum += bucket.get();
                (*bound, sum)
            });
        let below: Vec<_> = below.collect();
        let all = sum + self.buckets.last().map_or(0, Counter::get);
        (below, all)
    }

    /// The sum of all values, in millionths of a second or of one.
    pub fn sum_millionths(&self) -> u64 {
        self.millionths.load(Ordering::Relaxed)
    }
}

/// The state of one lane's breaker, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneMeter {
    /// The endpoint's name.
    pub name: String,
    /// Its breaker.
    pub breaker: BreakerState,
    /// Calls in flight.
    pub in_flight: u32,
}

const KINDS: usize = Kind::ALL.len();
const DECISIONS: usize = DecisionName::ALL.len();
const STATES: usize = State::ALL.len();

/// Everything that the engine counts.
#[derive(Debug)]
pub struct Meters {
    draws: Mutex<BTreeMap<Arc<str>, Arc<DrawCounters>>>,
    /// Draws per committed batch.
    pub draw_batch_size: Histogram,
    /// From arrival in the desk to the answer.
    pub draw_seconds: Histogram,
    /// What the broker said.
    pub publishes: PublishCounters,
    /// Hand-offs that the relay dropped: full, expired or breaker open. Rescue
    /// finds their rows.
    pub handoffs_dropped: Counter,
    /// Copies that were duplicates, or whose row had moved on.
    pub duplicates_dropped: Counter,
    /// Copies set aside because their lane had no permit.
    pub deferred: Counter,
    /// Messages kept as dead-letter messages.
    pub messages_kept: Counter,
    /// Awards of other systems that were adopted.
    pub adopted: Counter,
    /// Claims given back because their call could no longer begin.
    pub given_back: Counter,
    /// Rows that fail in the database, alone.
    pub row_failures: Counter,
    attempts: [[Counter; DECISIONS]; KINDS],
    late_results: [Counter; DECISIONS],
    rescued: [Counter; STATES],
    topic_breaker: AtomicU64,
    lanes: Mutex<BTreeMap<i64, LaneMeter>>,
    group: Mutex<Option<GroupPosition>>,
}

impl Default for Meters {
    fn default() -> Self {
        Self {
            draws: Mutex::default(),
            draw_batch_size: Histogram::new(SIZES),
            draw_seconds: Histogram::new(SECONDS),
            publishes: PublishCounters::default(),
            handoffs_dropped: Counter::default(),
            duplicates_dropped: Counter::default(),
            deferred: Counter::default(),
            messages_kept: Counter::default(),
            adopted: Counter::default(),
            given_back: Counter::default(),
            row_failures: Counter::default(),
            attempts: Default::default(),
            late_results: Default::default(),
            rescued: Default::default(),
            topic_breaker: AtomicU64::new(0),
            lanes: Mutex::default(),
            group: Mutex::default(),
        }
    }
}

impl Meters {
    /// All at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// The counters of a campaign's draws; beyond the bound of series all others
    /// share the campaign `other`.
    pub fn draws_of(&self, campaign: &Arc<str>) -> Arc<DrawCounters> {
        let mut draws = locked(&self.draws);
        if let Some(counters) = draws.get(campaign) {
            return Arc::clone(counters);
        }
        let label = if draws.len() < limits::CAMPAIGN_SERIES_MAX {
            Arc::clone(campaign)
        } else {
            Arc::from(OTHER)
        };
        Arc::clone(draws.entry(label).or_default())
    }

    /// Draws by campaign; [`DrawCounters::each`] gives the outcomes.
    pub fn draws(&self) -> Vec<(Arc<str>, Arc<DrawCounters>)> {
        locked(&self.draws)
            .iter()
            .map(|(campaign, counters)| (Arc::clone(campaign), Arc::clone(counters)))
            .collect()
    }

    /// Notes an attempt that ended.
    pub fn attempt(&self, kind: Kind, decision: DecisionName) {
        self.attempts[kind as usize][decision as usize].one();
    }

    /// Attempts by kind and decision, zeros too.
    pub fn attempts(&self) -> Vec<(Kind, DecisionName, u64)> {
        let of_kind = |kind: Kind| {
            let row = &self.attempts[kind as usize];
            DecisionName::ALL
                .iter()
                .map(move |decision| (kind, *decision, row[*decision as usize].get()))
        };
        Kind::ALL.iter().flat_map(|kind| of_kind(*kind)).collect()
    }

    /// Notes a record that came late.
    pub fn late_result(&self, decision: DecisionName) {
        self.late_results[decision as usize].one();
    }

    /// Late records by decision, zeros too.
    pub fn late_results(&self) -> Vec<(DecisionName, u64)> {
        DecisionName::ALL
            .iter()
            .map(|it| (*it, self.late_results[*it as usize].get()))
            .collect()
    }

    /// Notes a row that rescue put back on the path.
    pub fn rescue(&self, from: State) {
        self.rescued[from as usize].one();
    }

    /// Rescued rows by the state they came from, zeros too.
    pub fn rescued(&self) -> Vec<(State, u64)> {
        State::ALL
            .iter()
            .map(|it| (*it, self.rescued[*it as usize].get()))
            .collect()
    }

    /// The topic's breaker: 0 closed, 1 half-open, 2 open.
    pub fn topic_breaker(&self) -> u64 {
        self.topic_breaker.load(Ordering::Relaxed)
    }

    pub(crate) fn set_topic_breaker(&self, state: BreakerState) {
        self.topic_breaker
            .store(u64::from(state.code()), Ordering::Relaxed);
    }

    /// The lanes as they stood at the last look.
    pub fn lanes(&self) -> BTreeMap<i64, LaneMeter> {
        locked(&self.lanes).clone()
    }

    pub(crate) fn set_lanes(&self, lanes: BTreeMap<i64, LaneMeter>) {
        *locked(&self.lanes) = lanes;
    }

    /// How far the group had come at rescue's last look: lag is the high watermark
    /// less what is committed.
    pub fn group(&self) -> Option<GroupPosition> {
        locked(&self.group).clone()
    }

    pub(crate) fn set_group(&self, group: Option<GroupPosition>) {
        *locked(&self.group) = group;
    }
}

/// What is behind the lock is only replaced whole or counted up, so a holder that
/// panicked left it sound.
fn locked<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn campaigns_beyond_the_bound_of_series_share_one() {
        let meters = Meters::new();
        for n in 0..limits::CAMPAIGN_SERIES_MAX + 50 {
            meters.draws_of(&Arc::from(format!("c{n}"))).won.one();
        }
        let draws = meters.draws();
        assert_eq!(draws.len(), limits::CAMPAIGN_SERIES_MAX + 1);
        let others: Vec<u64> = draws
            .iter()
            .filter(|(campaign, _)| &**campaign == "other")
            .map(|(_, counters)| counters.won.get())
            .collect();
        assert_eq!(others, [50]);
    }

    #[test]
    fn every_label_is_there_at_zero() {
        let meters = Meters::new();
        assert_eq!(meters.attempts().len(), 36);
        assert_eq!(meters.late_results().len(), 6);
        assert_eq!(meters.rescued().len(), 7);
        meters.attempt(Kind::External, DecisionName::Hold);
        let one: Vec<_> = meters
            .attempts()
            .into_iter()
            .filter(|it| it.2 == 1)
            .collect();
        assert_eq!(one, [(Kind::External, DecisionName::Hold, 1)]);
    }

    #[test]
    fn value_on_a_bound_counts_in_its_bucket_and_one_above_all_counts_in_the_last() {
        let histogram = Histogram::new(SIZES);
        for count in [1, 2, 3, 1000, 5000] {
            histogram.observe_count(count);
        }
        let (below, all) = histogram.cumulative();
        let (_, first): (Vec<f64>, Vec<u64>) = below.into_iter().unzip();
        assert_eq!(first, [1, 2, 3, 3, 3, 3, 3, 3, 3, 4]);
        assert_eq!((all, histogram.sum_millionths()), (5, 6_006_000_000));
    }
}
