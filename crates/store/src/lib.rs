//! Makes the store ports of `tombola_core::ports` true: on SQLite, with one
//! writer thread, and on PostgreSQL, with as many processes as there are. A store
//! reads rows, asks the rules of `core` and writes what they say, in one transaction
//! for each port call; no rule lives here.
//!
//! What moves awards is written twice, in `sqlite::path` and `postgres::path`, each as
//! its database is fast. All else is written once over `sql`.
//!
//! Codes, addresses and secrets of endpoints are kept sealed: see [`seal`].
//!
//! Reads for people are not a port: they are in [`read`], on connections that
//! cannot write.

mod catalog;
mod codes;
mod endpoints;
mod facts;
mod keys;
pub mod lapse;
mod operate;
pub mod postgres;
pub mod processes;
pub mod read;
mod requests;
mod rows;
mod rules;
pub mod seal;
mod seals;
mod sql;
pub mod sqlite;
mod store;
mod topic_life;
pub mod transfer;

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;

pub use seal::{CodeDigest, SealKeys};
pub use sqlite::{Schema, backup, restore};
pub(crate) use store::Shared;
pub use store::{Store, StoreOptions};
