//! A batch waits for its turn, and what is known of its requests is read meanwhile, beside it,
//! on a connection of its own. So the campaign's lock is held for one trip, in which the batch
//! is written, and not for the one in which it is read.
//!
//! What was read ahead may be outdated when the turn comes, by the turns of others:
//!
//! - a request key that was not there is: its insert fails, and so does what looks for the keys of
//!   those that are refused (`keys::refuse_known`): who has drawn is never refused;
//! - a user has drawn: whoever would be counted beyond a limit fails (`add_used`);
//! - what answers a request again still does.
//!
//! A batch that fails so has met others (`is_conflict`): it wrote nothing and runs again, and
//! reads behind the lock, as do the next ones ([`BATCHES_BEHIND`]).

use super::super::pool::{Postgres, Taken};
use super::super::session::Work;
use super::state::{self, Turn};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio::{join, select};
use tokio_postgres::Row;
use tombola_core::draw::DrawRequest;
use tombola_core::ports::{Arrivals, DrawBatch, StoreResult};

/// So many batches read behind the lock after one that had read ahead in vain, so that where
/// many do it costs little.
const BATCHES_BEHIND: u32 = 64;

/// How long arrivals are gathered before they are read: what a turn of a crowd takes. More often
/// takes more of the processor from whoever has the turn than it saves.
const READ_EVERY: Duration = Duration::from_millis(2);

/// By when what is read ahead has to be there. The turn may have come meanwhile, and a
/// connection that has died without a word must not keep everybody waiting for it.
const READ_MAX: Duration = Duration::from_secs(1);

/// How the last batches of this process went.
#[derive(Default)]
pub(super) struct Crowd {
    /// Whether others joined the last batch of draws that they might have.
    is_joined: AtomicBool,
    /// Batches that are still to read behind the lock.
    behind: AtomicU32,
}

impl Crowd {
    /// Whether this batch should read ahead.
    fn reads_ahead(&self) -> bool {
        let one_less = |left: u32| left.checked_sub(1);
        let order = Ordering::Relaxed;
        self.behind.fetch_update(order, order, one_less).is_err()
    }

    /// Nothing came of reading ahead: it was outdated, or could not be.
    pub(super) fn was_in_vain(&self) {
        self.behind.store(BATCHES_BEHIND, Ordering::Relaxed);
    }
}

/// A batch in its turn, with what is known of its requests.
pub(super) struct InTurn {
    pub(super) turn: Turn,
    pub(super) of_requests: Vec<Row>,
    /// Whether some of it was read before the turn came.
    pub(super) is_ahead: bool,
}

/// Waits for the turn of a batch, and reads what is known of its requests and of those that
/// join it.
///
/// Where others joined the last batch they are expected again, and what is known is read
/// ahead; only of those who arrive too late for that it is read behind the lock. Else it comes
/// with the lock, in one trip.
pub(super) async fn in_turn(
    work: &Work<'_>,
    campaign: i64,
    (crowd, database): (&Crowd, &Postgres),
    batch: &mut DrawBatch,
    arrivals: Option<&dyn Arrivals>,
) -> StoreResult<InTurn> {
    let asked = batch.requests.len();
    let crowded = arrivals.filter(|_| crowd.is_joined.load(Ordering::Relaxed));
    let (turn, mut of_requests) = match crowded {
        None => tokio::try_join!(
            biased;
            state::turn(work, campaign),
            state::of_requests(work, campaign, &batch.requests),
        )?,
        Some(arrivals) if crowd.reads_ahead() => {
            let mut ahead = Ahead::new(database, campaign);
            let turn = state::turn(work, campaign);
            let turn = ahead.until(turn, &mut batch.requests, arrivals).await?;
            if ahead.has_failed {
                crowd.was_in_vain();
            }
            (turn, ahead.end())
        }
        Some(_) => (state::turn(work, campaign).await?, Vec::new()),
    };
    let is_ahead = crowded.is_some() && !of_requests.is_empty();
    if let Some(arrivals) = arrivals {
        batch.now = arrivals.now();
        // A few are not worth a trip behind the lock: the next turn is theirs.
        if !is_ahead || arrivals.standing() >= of_requests.len() {
            batch.requests.extend(arrivals.join());
        }
        let is_joined = batch.requests.len() > asked;
        crowd.is_joined.store(is_joined, Ordering::Relaxed);
        let rest = &batch.requests[of_requests.len()..];
        of_requests.extend(state::of_requests(work, campaign, rest).await?);
    }
    Ok(InTurn {
        turn,
        of_requests,
        is_ahead,
    })
}

/// Reads beside a transaction that waits.
struct Ahead<'a> {
    database: &'a Postgres,
    campaign: i64,
    session: Option<Taken>,
    /// A row for each request, in order.
    rows: Vec<Row>,
    has_failed: bool,
}

impl<'a> Ahead<'a> {
    const fn new(database: &'a Postgres, campaign: i64) -> Self {
        Self {
            database,
            campaign,
            session: None,
            rows: Vec::new(),
            has_failed: false,
        }
    }

    /// Waits for the turn, and meanwhile reads who is there and who arrives. What is being
    /// read when the turn comes is waited for, within a bound: it takes no longer than to read it
    /// again.
    async fn until(
        &mut self,
        turn: impl Future<Output = StoreResult<Turn>>,
        requests: &mut Vec<DrawRequest>,
        arrivals: &dyn Arrivals,
    ) -> StoreResult<Turn> {
        let come = Notify::new();
        let turn = async {
            let turn = turn.await;
            come.notify_one();
            turn
        };
        let reading = async {
            let mut every = interval(READ_EVERY);
            every.set_missed_tick_behavior(MissedTickBehavior::Delay);
            every.reset();
            loop {
                select! {
                    biased;
                    () = come.notified() => break,
                    _ = every.tick() => requests.extend(arrivals.join()),
                }
                let unread = &requests[self.rows.len()..];
                if !unread.is_empty() && !self.read(unread).await {
                    break;
                }
            }
        };
        join!(biased; turn, reading).0
    }

    /// `false` where it cannot be: the rest is read behind the lock, and whatever is wrong
    /// shows there.
    async fn read(&mut self, requests: &[DrawRequest]) -> bool {
        match timeout(READ_MAX, self.try_read(requests)).await {
            Ok(Ok(rows)) => self.rows.extend(rows),
            Ok(Err(error)) => {
                tracing::debug!(%error, "nothing is read ahead of the campaign's turn");
                self.has_failed = true;
            }
            Err(_) => {
                tracing::debug!("what was read ahead of the campaign's turn did not come");
                self.has_failed = true;
            }
        }
        !self.has_failed
    }

    async fn try_read(&mut self, requests: &[DrawRequest]) -> StoreResult<Vec<Row>> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => self.database.take_free().await?,
        };
        let rows = state::of_requests(&session.apart(), self.campaign, requests).await;
        if rows.is_ok() {
            self.session = Some(session);
        }
        rows
    }

    fn end(self) -> Vec<Row> {
        if let Some(session) = self.session {
            session.give_back();
        }
        self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_read_behind_the_lock_for_a_while_after_one_that_read_ahead_in_vain() {
        let crowd = Crowd::default();
        assert!(crowd.reads_ahead());
        crowd.was_in_vain();
        assert!((0..BATCHES_BEHIND).all(|_| !crowd.reads_ahead()));
        assert!(crowd.reads_ahead());
    }
}
