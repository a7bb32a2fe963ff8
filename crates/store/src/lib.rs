//! Makes the store ports of `tombola_core::ports` true: on SQLite, with one
//! writer thread. A store reads rows, asks the rules of `core` and writes what
//! they say, in one transaction for each port call; no rule lives here.
//!
//! Codes, addresses and secrets of endpoints are kept sealed: see [`seal`].
//!
//! Reads for people are not a port: they are in [`read`], on connections that
//! cannot write.

#[cfg(feature = "postgres")]
pub mod postgres;
pub mod read;
pub mod seal;
pub mod sqlite;

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;

pub use seal::{CodeDigest, SealKeys};
pub use sqlite::{Schema, SqliteStore, StoreOptions, backup, restore};
