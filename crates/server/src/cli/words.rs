//! Words of closed lists on the command line: a wrong one names those that there are.

use super::context::Usage;
use crate::api::{self, LetterReason, Outcome};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::collections::BTreeMap;
use tombola_core::Timestamp;
use tombola_core::award::State;
use tombola_core::campaign::Kind;
use tombola_core::ports::Role;
use tombola_core::reason::{DeadReason, HoldReason};
use tombola_engine::SystemClock;

/// The help and the completions name them as well.
fn one_of<T>(
    known: impl Iterator<Item = &'static str>,
    parse: impl Fn(&str) -> Option<T> + Clone + Send + Sync + 'static,
) -> impl TypedValueParser<Value = T>
where
    T: Clone + Send + Sync + 'static,
{
    let known: Vec<&'static str> = known.collect();
    PossibleValuesParser::new(known).try_map(move |word| parse(&word).ok_or("it is not known"))
}

pub(super) fn kind() -> impl TypedValueParser<Value = Kind> {
    one_of(Kind::ALL.iter().map(|it| it.name()), Kind::parse)
}

pub(super) fn state() -> impl TypedValueParser<Value = State> {
    one_of(State::ALL.iter().map(|it| it.name()), State::parse)
}

pub(super) fn dead_reason() -> impl TypedValueParser<Value = DeadReason> {
    one_of(
        DeadReason::ALL.iter().map(|it| it.name()),
        DeadReason::parse,
    )
}

pub(super) fn hold_reason() -> impl TypedValueParser<Value = HoldReason> {
    one_of(
        HoldReason::ALL.iter().map(|it| it.name()),
        HoldReason::parse,
    )
}

pub(super) fn letter_reason() -> impl TypedValueParser<Value = LetterReason> {
    one_of(LetterReason::names(), LetterReason::parse)
}

pub(super) fn outcome() -> impl TypedValueParser<Value = Outcome> {
    const ALL: [Outcome; 2] = [Outcome::Won, Outcome::Nothing];
    one_of(ALL.iter().map(|it| it.name()), |text| {
        ALL.into_iter().find(|it| it.name() == text)
    })
}

pub(super) fn role() -> impl TypedValueParser<Value = Role> {
    one_of(Role::ALL.iter().map(|it| it.name()), Role::parse)
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
