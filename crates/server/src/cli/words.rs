//! Words of closed lists on the command line: a wrong one names those that there are.

use super::context::Usage;
use crate::api::{self, LetterReason, Outcome};
use std::collections::BTreeMap;
use tombola_core::Timestamp;
use tombola_core::award::State;
use tombola_core::campaign::Kind;
use tombola_core::ports::Role;
use tombola_core::reason::{DeadReason, HoldReason};
use tombola_engine::SystemClock;

fn one_of<T>(found: Option<T>, known: impl Iterator<Item = &'static str>) -> Result<T, String> {
    found.ok_or_else(|| format!("use one of {}", known.collect::<Vec<_>>().join(", ")))
}

pub(super) fn kind(text: &str) -> Result<Kind, String> {
    one_of(Kind::parse(text), Kind::ALL.iter().map(|it| it.name()))
}

pub(super) fn state(text: &str) -> Result<State, String> {
    one_of(State::parse(text), State::ALL.iter().map(|it| it.name()))
}

pub(super) fn dead_reason(text: &str) -> Result<DeadReason, String> {
    one_of(
        DeadReason::parse(text),
        DeadReason::ALL.iter().map(|it| it.name()),
    )
}

pub(super) fn hold_reason(text: &str) -> Result<HoldReason, String> {
    one_of(
        HoldReason::parse(text),
        HoldReason::ALL.iter().map(|it| it.name()),
    )
}

pub(super) fn letter_reason(text: &str) -> Result<LetterReason, String> {
    one_of(LetterReason::parse(text), LetterReason::names())
}

pub(super) fn outcome(text: &str) -> Result<Outcome, String> {
    let all = [Outcome::Won, Outcome::Nothing];
    let found = all.into_iter().find(|it| it.name() == text);
    one_of(found, all.iter().map(|it| it.name()))
}

pub(super) fn role(text: &str) -> Result<Role, String> {
    one_of(Role::parse(text), Role::ALL.iter().map(|it| it.name()))
}

pub(super) fn since(text: &str) -> Result<Timestamp, Usage> {
    api::instant(text, SystemClock::wall())
        .ok_or_else(|| Usage("--since: use RFC 3339, or a span such as 2h".to_owned()))
}

/// `code 3, text 1`, or `none`.
pub(super) fn counts(counts: &BTreeMap<Kind, u64>) -> String {
    let each = |(kind, count): (&Kind, &u64)| format!("{kind} {count}");
    let all: Vec<String> = counts.iter().map(each).collect();
    if all.is_empty() {
        "none".to_owned()
    } else {
        all.join(", ")
    }
}
