//! Aim: the SQLite store is a store. It runs the same list of names as every other.

use std::sync::Arc;
use tombola_store::StoreOptions;
use tombola_store::conformance::{Bench, SqliteBench};

async fn sqlite() -> Arc<dyn Bench> {
    Arc::new(SqliteBench::open(StoreOptions::default()))
}

tombola_store::conformance_tests!(sqlite);
