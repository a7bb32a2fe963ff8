//! The load: so many callers, each of which asks, waits for its answer and asks
//! again. Every contender gets the same callers.

use crate::report::Measured;
use anyhow::Result;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How long a contender runs before it is measured, and while it is.
pub(crate) struct Plan {
    pub(crate) callers: usize,
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

impl Plan {
    /// So many callers for that long, after a second.
    pub(crate) const fn new(callers: usize, seconds: u64) -> Self {
        Self {
            callers,
            warm_up: Duration::from_secs(1),
            measured: Duration::from_secs(seconds),
        }
    }
}

/// Runs `ask(number)` from all callers; the number is unique.
pub(crate) async fn run<F, R>(name: &str, plan: &Plan, ask: F) -> Result<Measured>
where
    F: Fn(u64) -> R + Clone + Send + 'static,
    R: Future<Output = Result<()>> + Send,
{
    let numbers = Arc::new(AtomicU64::new(1));
    let begun = Instant::now();
    let from = begun + plan.warm_up;
    let until = from + plan.measured;
    let mut callers = JoinSet::new();
    for _ in 0..plan.callers {
        let (numbers, ask) = (Arc::clone(&numbers), ask.clone());
        callers.spawn(async move {
            let mut waits = Vec::new();
            loop {
                let asked = Instant::now();
                if asked >= until {
                    return Ok::<_, anyhow::Error>(waits);
                }
                ask(numbers.fetch_add(1, Ordering::Relaxed)).await?;
                let answered = Instant::now();
                if answered >= from && answered < until {
                    waits.push(answered - asked);
                }
            }
        });
    }
    let mut waits = Vec::new();
    while let Some(caller) = callers.join_next().await {
        waits.extend(caller??);
    }
    waits.sort_unstable();
    Ok(Measured {
        name: name.to_owned(),
        callers: plan.callers,
        draws: u64::try_from(waits.len())?,
        took: plan.measured,
        waits,
    })
}
