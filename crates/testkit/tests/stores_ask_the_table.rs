//! Aim: the SQLite store has no rule of its own: wherever the award's table is
//! broken, so is the store, and the case that notices it on the model notices it
//! there too.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tombola_core::award::StepFn;
use tombola_core::retry::Schedule;
use tombola_store::StoreOptions;
use tombola_store::conformance::{Bench, CASES, Case, SqliteBench};
use tombola_testkit::broken::steps;
use tombola_testkit::{Laws, ModelStore};

fn holds(case: &Case, bench: Arc<dyn Bench>) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.unwrap_or_else(|error| panic!("no runtime: {error}"));
    catch_unwind(AssertUnwindSafe(|| runtime.block_on(case.run(bench)))).is_ok()
}

fn model(step: StepFn) -> Arc<dyn Bench> {
    let laws = Laws {
        step,
        ..Laws::default()
    };
    Arc::new(ModelStore::with(laws, Schedule::default()))
}

fn sqlite(step: StepFn) -> Arc<dyn Bench> {
    Arc::new(SqliteBench::open(StoreOptions {
        step,
        ..StoreOptions::default()
    }))
}

#[test]
fn a_broken_table_breaks_the_sqlite_store_as_it_breaks_the_model() {
    let mut sound = Vec::new();
    for (name, step) in steps() {
        let noticing = CASES.iter().filter(|case| !holds(case, model(step)));
        if noticing.into_iter().all(|case| holds(case, sqlite(step))) {
            sound.push(name);
        }
    }
    assert!(
        sound.is_empty(),
        "the store has rules of its own where {sound:#?}"
    );
}
