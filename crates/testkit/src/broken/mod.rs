//! The rules of a store, each broken in one place. A suite that cannot tell a
//! broken store from a sound one proves nothing: the test
//! `conformance_notices` runs every case on a [`ModelStore`](crate::ModelStore)
//! with each of these laws and expects at least one to fail.
//!
//! Each is a wrapper of the sound function that takes away one guard, by showing
//! it another row or event, or by editing what it says. So a change of the table
//! needs no change here, and none of these can break two guards unseen.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "each names the one event that it breaks; all others go to the sound table"
)]

mod copies;
mod decisions;
mod draws;
mod hands;
mod lag;
mod marks;
mod people;
mod rescue;
mod rows;

pub use hands::{Hands, Sloppy};

use crate::model::{DecideFn, IsAheadFn, Laws};
use tombola_core::award::{Change, Context, Event, Row, Step, StepFn, step};

/// Laws with one guard taken away.
#[derive(Debug, Clone, Copy)]
pub struct Broken {
    /// Which: what such a store does wrong.
    pub name: &'static str,
    /// The laws.
    pub laws: Laws,
}

/// All of them.
pub fn all() -> Vec<Broken> {
    let steps = steps().map(|(name, step)| Broken {
        name,
        laws: Laws {
            step,
            ..Laws::default()
        },
    });
    let lags = lag::ALL.iter().map(|(name, is_ahead)| Broken {
        name,
        laws: Laws {
            is_ahead: *is_ahead,
            ..Laws::default()
        },
    });
    let draws = draws::ALL.iter().map(|(name, decide)| Broken {
        name,
        laws: Laws {
            decide: *decide,
            ..Laws::default()
        },
    });
    steps.chain(lags).chain(draws).collect()
}

/// Sound rules in hands that slip once.
pub fn hands() -> impl Iterator<Item = (&'static str, Hands)> {
    hands::all()
}

/// Those of the award's table, which every store takes.
pub fn steps() -> impl Iterator<Item = (&'static str, StepFn)> {
    [
        marks::ALL,
        copies::ALL,
        decisions::ALL,
        rescue::ALL,
        people::ALL,
        rows::ALL,
    ]
    .into_iter()
    .flatten()
    .copied()
}

type BrokenSteps = &'static [(&'static str, StepFn)];
type BrokenLags = &'static [(&'static str, IsAheadFn)];
type BrokenDraws = &'static [(&'static str, DecideFn)];

/// The sound answer for another row than the one that is there.
fn of_row(row: &Row, event: &Event, at: Context<'_>, edit: impl FnOnce(&mut Row)) -> Step {
    let mut row = row.clone();
    edit(&mut row);
    step(&row, event, at)
}

/// The sound answer, with what it writes edited.
fn edited(answer: Step, edit: impl FnOnce(&mut Change)) -> Step {
    match answer {
        Step::Changed(mut change) => {
            edit(&mut change);
            Step::Changed(change)
        }
        Step::Late | Step::Same | Step::Refused(_) => answer,
    }
}
