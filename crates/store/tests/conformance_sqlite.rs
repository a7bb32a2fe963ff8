//! Aim: the SQLite store is a store. It runs the same list of names as every other.

use std::future::{Ready, ready};
use std::sync::Arc;
use tombola_store::StoreOptions;
use tombola_store::conformance::{Bench, SqliteBench};

fn sqlite() -> Ready<Arc<dyn Bench>> {
    ready(Arc::new(SqliteBench::open(StoreOptions::default())))
}

tombola_store::conformance_tests!(sqlite);
