//! The callers of the demo: they draw, each under a request key of its own, and
//! write down what they were told. A caller that got no answer asks again with
//! the same key, as a careful client does, until it has one.

use super::plan::Ask;
use super::wire::{Answer, Call, Wire};
use anyhow::{Result, ensure};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;

/// Callers at the same time.
const CALLERS: usize = 64;
/// How often a caller asks again before the demo fails.
const TRIES_MAX: u32 = 600;
/// How long a caller waits before it asks again.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// What the callers wrote down.
#[derive(Default)]
pub(crate) struct History {
    /// Requests that were answered with a draw: key, user, status line and bytes.
    pub(crate) drawn: Vec<Drawn>,
    /// Refusals by their code.
    pub(crate) refused: BTreeMap<String, u64>,
    /// Requests that were answered differently when made twice.
    pub(crate) unequal: u64,
}

impl History {
    /// Answered draws of each user who has any.
    pub(crate) fn draws_of_users(&self) -> Vec<u32> {
        let mut draws = BTreeMap::<&str, u32>::new();
        for drawn in &self.drawn {
            *draws.entry(&drawn.ask.user).or_default() += 1;
        }
        draws.into_values().collect()
    }
}

/// One answered draw.
pub(crate) struct Drawn {
    pub(crate) ask: Ask,
    pub(crate) body: Vec<u8>,
}

impl Drawn {
    /// The one draw of the answer.
    pub(crate) fn draw(&self) -> Result<serde_json::Value> {
        let mut body: serde_json::Value = serde_json::from_slice(&self.body)?;
        Ok(body["draws"][0].take())
    }
}

/// How far the callers have come; read by the progress bar and by the killer.
#[derive(Default)]
pub(crate) struct Pace {
    /// Requests that have their answer.
    pub(crate) done: AtomicU64,
    /// Requests on their way now.
    pub(crate) in_flight: AtomicUsize,
    /// Requests that had to be made again.
    pub(crate) again: AtomicU64,
}

/// Draws the whole plan.
pub(crate) async fn draw_all(
    wire: Arc<dyn Wire>,
    campaign: &str,
    plan: Vec<Ask>,
    pace: Arc<Pace>,
) -> Result<History> {
    let path: Arc<str> = format!("/v1/campaigns/{campaign}/draws").into();
    let plan = Arc::new(Mutex::new(plan.into_iter()));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (wire, path, plan, pace) = (
            Arc::clone(&wire),
            Arc::clone(&path),
            Arc::clone(&plan),
            Arc::clone(&pace),
        );
        callers.spawn(async move {
            let mut history = History::default();
            loop {
                let next = plan.lock().expect("no holder of the plan panics").next();
                let Some(ask) = next else {
                    return Ok::<_, anyhow::Error>(history);
                };
                one(&*wire, &path, ask, &pace, &mut history).await?;
                pace.done.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let mut whole = History::default();
    while let Some(caller) = callers.join_next().await {
        let part = caller??;
        whole.drawn.extend(part.drawn);
        whole.unequal += part.unequal;
        for (code, times) in part.refused {
            *whole.refused.entry(code).or_default() += times;
        }
    }
    Ok(whole)
}

async fn one(
    wire: &dyn Wire,
    path: &str,
    ask: Ask,
    pace: &Pace,
    history: &mut History,
) -> Result<()> {
    let answer = if ask.is_twice {
        let (one, two) = tokio::try_join!(
            until_answered(wire, path, &ask, pace),
            until_answered(wire, path, &ask, pace)
        )?;
        if one.is_created() && two.is_created() && one.body != two.body {
            history.unequal += 1;
        }
        // A refusal changes nothing, so of two equal requests one may be refused
        // (the other took the last draw) only if neither drew before.
        if one.is_created() { one } else { two }
    } else {
        until_answered(wire, path, &ask, pace).await?
    };
    if answer.is_created() {
        history.drawn.push(Drawn {
            ask,
            body: answer.body,
        });
    } else {
        *history.refused.entry(answer.code()).or_default() += 1;
    }
    Ok(())
}

/// Asks until there is an answer that is not the server's trouble.
pub(crate) async fn until_answered(
    wire: &dyn Wire,
    path: &str,
    ask: &Ask,
    pace: &Pace,
) -> Result<Answer> {
    let body = serde_json::to_vec(&serde_json::json!({ "user": ask.user }))?;
    let mut tries = 0;
    loop {
        pace.in_flight.fetch_add(1, Ordering::Relaxed);
        let answer = wire.call(Call::post(path, &ask.key, &body)).await;
        pace.in_flight.fetch_sub(1, Ordering::Relaxed);
        match answer {
            Ok(answer) if answer.status < 500 && answer.status != 429 => return Ok(answer),
            Ok(_) | Err(_) => {
                tries += 1;
                ensure!(
                    tries < TRIES_MAX,
                    "no answer to `{}` after {tries} tries",
                    ask.key
                );
                pace.again.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        }
    }
}
