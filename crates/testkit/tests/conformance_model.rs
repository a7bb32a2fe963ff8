//! Aim: the model is a store. It runs the same list of names as every other.

use std::future::{Ready, ready};
use std::sync::Arc;
use tombola_store::conformance::Bench;
use tombola_testkit::ModelStore;

fn model() -> Ready<Arc<dyn Bench>> {
    ready(Arc::new(ModelStore::new()))
}

tombola_store::conformance_tests!(model);
