//! Aim: the store on PostgreSQL is a store. It runs the same list of names as every
//! other.

use crate::server::Database;
use std::sync::Arc;
use tombola_store::StoreOptions;
use tombola_store::conformance::{Bench, PostgresBench};

async fn postgres() -> Option<Arc<dyn Bench>> {
    let database = Database::new().await?;
    let (postgres, options) = (database.options(), StoreOptions::default());
    Some(Arc::new(
        PostgresBench::open(postgres, options, database).await,
    ))
}

tombola_store::conformance_tests!(postgres);
