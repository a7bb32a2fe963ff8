//! The callers: each draws under a request key of its own and, without an answer, asks again under
//! the same key at another process, as a careful client does. What they write down is what the run
//! is judged by.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::plan::{Ask, Asks, CAMPAIGN, Sizes};
use super::town::{Town, joined, lock};
use super::wire::{Answer, Call, Wire};
use crate::shell::Watch;

const CALLERS: usize = 48;
/// Before a caller asks again.
const AGAIN: Duration = Duration::from_millis(50);

/// What the callers were told.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) draws: Vec<Draw>,
    /// User and count of what was over the limit.
    pub(super) refused: Vec<(String, u64)>,
    /// Keys that were answered differently when used again.
    pub(super) unequal: Vec<String>,
}

/// One draw of an answer.
#[derive(Debug)]
pub(super) struct Draw {
    pub(super) id: i64,
    pub(super) user: String,
    /// Of a draw that won.
    pub(super) prize: Option<String>,
}

impl History {
    fn join(&mut self, other: Self) {
        self.draws.extend(other.draws);
        self.refused.extend(other.refused);
        self.unequal.extend(other.unequal);
    }

    pub(super) fn wins(&self) -> impl Iterator<Item = (&Draw, &str)> {
        let draws = self.draws.iter();
        draws.filter_map(|draw| Some((draw, draw.prize.as_deref()?)))
    }

    /// Wins by prize.
    pub(super) fn won(&self) -> BTreeMap<&str, u64> {
        let mut won = BTreeMap::new();
        for (_, prize) in self.wins() {
            *won.entry(prize).or_default() += 1;
        }
        won
    }
}

/// How far they have come; the faults follow it.
#[derive(Debug, Default)]
pub(super) struct Pace {
    pub(super) answered: AtomicU64,
    /// Requests that had to be made again.
    pub(super) again: AtomicU64,
    /// Somebody has failed: all others give up too.
    failed: std::sync::atomic::AtomicBool,
}

impl Pace {
    pub(super) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    pub(super) fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }
}

/// What all callers share.
#[derive(Debug)]
pub(super) struct Load<'a> {
    pub(super) town: &'a Town,
    pub(super) sizes: Sizes,
    pub(super) pace: &'a Pace,
    pub(super) watch: &'a Watch,
    pub(super) deadline: Duration,
    pub(super) asks: Mutex<Asks>,
}

impl Load<'_> {
    /// Until as many draws were answered as are wanted.
    pub(super) fn run(&self) -> Result<History> {
        thread::scope(|scope| {
            let callers: Vec<_> = (0..CALLERS)
                .map(|_| scope.spawn(|| self.caller().inspect_err(|_| self.pace.fail())))
                .collect();
            let mut whole = History::default();
            for caller in callers {
                whole.join(joined(caller.join())?);
            }
            Ok(whole)
        })
    }

    fn caller(&self) -> Result<History> {
        let mut history = History::default();
        let mut line = Line::default();
        while self.pace.answered() < self.sizes.draws {
            let ask = lock(&self.asks).next().context("the plan has no end")?;
            self.one(&mut line, &ask, &mut history)?;
        }
        Ok(history)
    }

    fn one(&self, line: &mut Line, ask: &Ask, history: &mut History) -> Result<()> {
        let answer = self.until_answered(line, ask, ask.door)?;
        match (answer.status, answer.code().as_str()) {
            (201, _) => {
                let before = history.draws.len();
                history.draws.extend(read(ask, &answer.json())?);
                let drawn = history.draws.len() - before;
                self.pace
                    .answered
                    .fetch_add(drawn as u64, Ordering::Relaxed);
                if ask.is_twice {
                    let other = self.until_answered(line, ask, ask.door + 1)?;
                    if other.status != 201 || other.body != answer.body {
                        history.unequal.push(ask.key.clone());
                    }
                }
            }
            (409, "allowance_exhausted") => {
                history.refused.push((ask.user.clone(), ask.count));
            }
            (status, code) => bail!("`{}` was answered {status} {code}", ask.key),
        }
        Ok(())
    }

    /// Asks until there is an answer that is not the server's trouble.
    fn until_answered(&self, line: &mut Line, ask: &Ask, door: usize) -> Result<Answer> {
        let path = format!("/v1/campaigns/{CAMPAIGN}/draws");
        let body = json!({ "user": ask.user, "count": ask.count }).to_string();
        for which in door.. {
            let answer = line.call(self.town, which, Call::post(&path, &ask.key, &body));
            match answer {
                Ok(answer) if answer.status < 500 && answer.status != 429 => return Ok(answer),
                Ok(_) | Err(_) => {}
            }
            ensure!(
                self.watch.elapsed() < self.deadline && !self.pace.has_failed(),
                "`{}` was not answered in time",
                ask.key
            );
            self.pace.again.fetch_add(1, Ordering::Relaxed);
            thread::sleep(AGAIN);
        }
        bail!("the doors have no end")
    }
}

/// A caller's connections, one to each door.
#[derive(Debug, Default)]
struct Line([Option<(String, Wire)>; 3]);

impl Line {
    fn call(&mut self, town: &Town, which: usize, call: Call<'_>) -> Result<Answer> {
        let address = town.api(which);
        let line = &mut self.0[which % 3];
        let mut wire = match line.take() {
            Some((of, wire)) if of == address => wire,
            _ => Wire::connect(&address)?,
        };
        let answer = wire.call(call)?;
        *line = Some((address, wire));
        Ok(answer)
    }
}

fn read(ask: &Ask, answer: &Value) -> Result<Vec<Draw>> {
    let draws = answer["draws"]
        .as_array()
        .context("an answer without draws")?;
    ensure!(
        draws.len() as u64 == ask.count,
        "`{}` asked for {} draws: {answer}",
        ask.key,
        ask.count
    );
    let draw = |draw: &Value| {
        let has_award = !draw["award"].is_null();
        Ok(Draw {
            id: draw["id"].as_i64().context("a draw without an id")?,
            user: ask.user.clone(),
            prize: has_award
                .then(|| draw["prize"].as_str().map(str::to_owned))
                .flatten(),
        })
    };
    draws.iter().map(draw).collect()
}
