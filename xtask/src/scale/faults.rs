//! What goes wrong during the run, and when: places in the load, which follow from the seed, so
//! that each fault hits a system at work however fast the machine is.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;

use super::callers::Pace;
use super::receiver::Receiver;
use super::town::{Town, joined, lock};
use crate::services::Guard;
use crate::shell::Watch;

/// How long the fourth worker stays, and how long it stays away.
const STAY: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(2);

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fault {
    KillBroker(u32),
    StartBroker(u32),
    RestartPostgres,
    /// The fourth worker joins and leaves, so many times.
    Flap(u32),
    /// SIGKILL, and at once a new start.
    Kill(usize),
}

/// A fault, and the draws that were answered by then.
pub(super) type Planned = (u64, Fault);

/// How much of what varies with the form of the run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub(super) kills: u64,
    /// The last kill comes before so many thousandths of the draws.
    pub(super) until: u64,
    pub(super) flaps: u32,
}

/// The first kill comes after so many thousandths of the draws.
const KILLS_FROM: u64 = 30;

/// Kills go round all processes in an order of the seed's, so that none is spared.
pub(super) fn plan(seed: u64, draws: u64, extent: Extent) -> Vec<Planned> {
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    let at = |thousandth: u64| draws * thousandth / 1_000;
    let broker = rng.random_range(1..=3);
    let mut faults = vec![
        (at(20), Fault::Flap(extent.flaps)),
        (at(rng.random_range(80..150)), Fault::KillBroker(broker)),
        (at(rng.random_range(350..450)), Fault::StartBroker(broker)),
        (at(rng.random_range(200..300)), Fault::RestartPostgres),
    ];
    let mut order: Vec<_> = Town::standing().collect();
    order.shuffle(&mut rng);
    let part = (extent.until - KILLS_FROM) / extent.kills;
    faults.extend(
        order
            .into_iter()
            .cycle()
            .zip(0..extent.kills)
            .map(|(number, kill)| {
                let place = KILLS_FROM + kill * part + rng.random_range(0..part);
                (at(place), Fault::Kill(number))
            }),
    );
    faults.sort_by_key(|(at, _)| *at);
    faults
}

/// How often what happened.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) kills: AtomicU64,
    pub(super) joins: AtomicU64,
    /// Awards that the receiver had paid when the broker went, and when it was to come back.
    paid: [AtomicU64; 2],
}

impl Done {
    /// What the receiver paid while a broker was away.
    pub(super) fn paid_without_a_broker(&self) -> u64 {
        let [before, after] = &self.paid;
        after
            .load(Ordering::Relaxed)
            .saturating_sub(before.load(Ordering::Relaxed))
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kills, joins) = (
            self.kills.load(Ordering::Relaxed),
            self.joins.load(Ordering::Relaxed),
        );
        let paid = self.paid_without_a_broker();
        write!(
            f,
            "{kills} processes killed, {joins} joins and leaves, {paid} paid while a broker was away"
        )
    }
}

/// Whom the faults befall.
#[derive(Clone, Copy)]
pub(super) struct Victims<'a> {
    pub(super) town: &'a Town,
    pub(super) services: &'a Guard,
    pub(super) pace: &'a Pace,
    pub(super) watch: &'a Watch,
    pub(super) done: &'a Done,
    pub(super) receiver: &'a Receiver,
}

impl Victims<'_> {
    /// Makes each at its place. One that takes long does not keep the next waiting.
    pub(super) fn suffer(self, faults: &[Planned]) -> Result<()> {
        thread::scope(|scope| {
            let mut slow = Vec::new();
            for (at, fault) in faults {
                while self.pace.answered() < *at && !self.pace.has_failed() {
                    thread::sleep(POLL);
                }
                if self.pace.has_failed() {
                    break;
                }
                let fault = *fault;
                slow.push(scope.spawn(move || self.make(fault).inspect_err(|_| self.pace.fail())));
            }
            slow.into_iter().try_for_each(|it| joined(it.join()))
        })
    }

    fn make(self, fault: Fault) -> Result<()> {
        match fault {
            Fault::KillBroker(node) => {
                self.say(&format!("broker {node} is killed"));
                self.services.kafka("kill", node)?;
                self.count_paid(0);
                Ok(())
            }
            Fault::StartBroker(node) => {
                self.count_paid(1);
                self.services.kafka("start", node)?;
                self.say(&format!("broker {node} is back"));
                Ok(())
            }
            Fault::RestartPostgres => {
                self.say("PostgreSQL is ended without a word");
                self.services.restart_postgres()?;
                self.say("PostgreSQL is back");
                Ok(())
            }
            Fault::Flap(times) => self.flap(times),
            Fault::Kill(number) => {
                if !self.town.kill(number)? {
                    return Ok(());
                }
                self.say(&format!("{} is killed", self.town.name(number)));
                self.done.kills.fetch_add(1, Ordering::Relaxed);
                self.town.start(number)
            }
        }
    }

    fn flap(self, times: u32) -> Result<()> {
        let guest = Town::guest();
        self.say(&format!("{} joins and leaves", self.town.name(guest)));
        for _ in 0..times {
            self.town.start(guest)?;
            thread::sleep(STAY);
            let status = self.town.stop(guest)?;
            if !status.success() {
                self.say(&format!("{} left with {status}", self.town.name(guest)));
            }
            self.done.joins.fetch_add(1, Ordering::Relaxed);
            if self.pace.has_failed() {
                break;
            }
            thread::sleep(STAY);
        }
        self.say(&format!("{} has left for good", self.town.name(guest)));
        Ok(())
    }

    fn count_paid(self, when: usize) {
        let paid = lock(&self.receiver.ledger).paid.len() as u64;
        self.done.paid[when].store(paid, Ordering::Relaxed);
    }

    fn say(self, what: &str) {
        println!(
            "{:6.1} s, {:7} draws: {what}",
            self.watch.elapsed().as_secs_f64(),
            self.pace.answered()
        );
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const FULL: Extent = Extent {
        kills: 24,
        until: 930,
        flaps: 15,
    };

    #[test]
    fn one_seed_gives_one_plan_in_which_everybody_is_killed() {
        let faults = plan(7, 200_000, FULL);
        assert_eq!(faults, plan(7, 200_000, FULL));
        assert_ne!(faults, plan(8, 200_000, FULL));
        let killed: HashSet<_> = faults
            .iter()
            .filter(|(_, fault)| matches!(fault, Fault::Kill(_)))
            .map(|(_, fault)| format!("{fault:?}"))
            .collect();
        assert_eq!(killed.len(), Town::standing().len());
    }

    #[test]
    fn broker_is_back_while_draws_go_on() {
        for seed in 0..100 {
            let faults = plan(seed, 10_000, FULL);
            let place = |is: fn(&Fault) -> bool| {
                let found = faults.iter().find(|(_, fault)| is(fault));
                found.expect("it is in every plan").0
            };
            let killed = place(|fault| matches!(fault, Fault::KillBroker(_)));
            let back = place(|fault| matches!(fault, Fault::StartBroker(_)));
            let restarted = place(|fault| *fault == Fault::RestartPostgres);
            assert!(killed < restarted && restarted < back && back < 5_000);
        }
    }
}
