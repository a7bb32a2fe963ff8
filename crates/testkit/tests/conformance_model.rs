//! Aim: the model is a store. It runs the same list of names as every other.

use std::sync::Arc;
use tombola_store::conformance::Bench;
use tombola_testkit::ModelStore;

async fn model() -> Arc<dyn Bench> {
    Arc::new(ModelStore::new())
}

tombola_store::conformance_tests!(model);
