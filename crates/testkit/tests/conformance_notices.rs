//! Aim: the suite would notice. Each rule of the table, of the choosing and of the
//! lag test is broken in one place, and so is each port, and at least one case
//! fails for it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tombola_core::retry::Schedule;
use tombola_store::conformance::{Bench, CASES, Case};
use tombola_testkit::broken::{Hands, Sloppy, all, hands};
use tombola_testkit::{Laws, ModelStore};

/// Whether the case holds on that store. None of these ever waits, so a case is
/// driven to its end where it stands.
fn holds(case: &Case, bench: Arc<dyn Bench>) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.unwrap_or_else(|error| panic!("no runtime: {error}"));
    catch_unwind(AssertUnwindSafe(|| runtime.block_on(case.run(bench)))).is_ok()
}

type Benches = Box<dyn Fn() -> Arc<dyn Bench>>;

/// The first case that fails on each of these broken stores, by the store's name.
fn noticed(
    broken: impl Iterator<Item = (&'static str, Benches)>,
) -> Vec<(&'static str, Option<&'static str>)> {
    let noticing = |bench: Benches| CASES.iter().find(|case| !holds(case, bench()));
    broken
        .map(|(name, bench)| (name, noticing(bench).map(|case| case.name)))
        .collect()
}

fn model(laws: Laws) -> Arc<dyn Bench> {
    Arc::new(ModelStore::with(laws, Schedule::default()))
}

#[test]
fn every_case_holds_with_the_sound_laws() {
    for case in CASES {
        assert!(holds(case, model(Laws::default())), "{}", case.name);
    }
}

#[test]
fn every_case_holds_in_sound_hands() {
    for case in CASES {
        assert!(
            holds(case, Arc::new(Sloppy::new(Hands::default()))),
            "{}",
            case.name
        );
    }
}

#[test]
fn each_guard_that_is_taken_away_is_noticed() {
    let broken = all().into_iter().map(|it| {
        let bench: Benches = Box::new(move || model(it.laws));
        (it.name, bench)
    });
    for (name, case) in noticed(broken) {
        println!(
            "{name}: {}",
            case.unwrap_or_else(|| panic!("{name}: no case notices"))
        );
    }
}

#[test]
fn each_slip_at_a_port_is_noticed() {
    let broken = hands().map(|(name, hands)| {
        let bench: Benches = Box::new(move || Arc::new(Sloppy::new(hands)));
        (name, bench)
    });
    for (name, case) in noticed(broken) {
        println!(
            "{name}: {}",
            case.unwrap_or_else(|| panic!("{name}: no case notices"))
        );
    }
}

#[test]
fn no_two_broken_stores_have_the_same_name() {
    let mut names: Vec<_> = all().iter().map(|broken| broken.name).collect();
    names.extend(hands().map(|(name, _)| name));
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    assert!(count >= 150, "{count} broken stores");
}
