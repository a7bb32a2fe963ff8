//! Aim: the suite would notice. Each rule of the table, of the choosing and of the
//! lag test is broken in one place, and at least one case fails for it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tombola_core::retry::Schedule;
use tombola_store::conformance::{CASES, Case};
use tombola_testkit::broken::{Broken, all};
use tombola_testkit::{Laws, ModelStore};

/// Whether the case holds on a model with these laws. The model never waits, so a
/// case is driven to its end where it stands.
fn holds(case: &Case, laws: Laws) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let model = Arc::new(ModelStore::with(laws, Schedule::default()));
    catch_unwind(AssertUnwindSafe(|| runtime.block_on(case.run(model)))).is_ok()
}

/// The first case that fails with these laws.
fn noticed_by(broken: &Broken) -> Option<&'static str> {
    CASES.iter().find(|case| !holds(case, broken.laws)).map(|case| case.name)
}

#[test]
fn every_case_holds_with_the_sound_laws() {
    for case in CASES {
        assert!(holds(case, Laws::default()), "{}", case.name);
    }
}

#[test]
fn each_guard_that_is_taken_away_is_noticed() {
    let mut overlooked = Vec::new();
    for broken in all() {
        match noticed_by(&broken) {
            Some(case) => println!("{}: {case}", broken.name),
            None => overlooked.push(broken.name),
        }
    }
    assert!(overlooked.is_empty(), "no case notices that {overlooked:#?}");
}

#[test]
fn no_two_broken_laws_have_the_same_name() {
    let mut names: Vec<_> = all().iter().map(|broken| broken.name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    assert!(count >= 100, "{count} broken laws");
}
