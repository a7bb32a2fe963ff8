//! The ports: how the engine reaches the database, the topic and the clock. One
//! method is one transaction, and it takes and returns batches; no transaction
//! handle crosses the seam. Reads for people are not a port.
//!
//! Every write is told the instant of its batch; a store has no clock of its own.

mod award_path;
mod catalog;
mod clock;
mod operate;
mod request;
mod topic;

pub use award_path::*;
pub use catalog::*;
pub use clock::Clock;
pub use operate::*;
pub use request::*;
pub use topic::*;

/// What went wrong in a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached, is busy beyond patience, or lost the
    /// connection; whether a commit took effect is unknown. Run the batch again.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// The store refuses more work for now.
    #[error("the store has too much to do")]
    Overloaded,
    /// One member of the batch cannot be written, by an error of its data and not
    /// of the connection.
    #[error("a row cannot be written: {0}")]
    Row(String),
    /// The database holds something that no code of ours wrote.
    #[error("the database is inconsistent: {0}")]
    Inconsistent(String),
    /// Something that is kept sealed does not open: the version of the secret that
    /// sealed it is missing, or its bytes were changed. An error of that row alone.
    #[error("cannot be opened: {0}")]
    Sealed(String),
    /// It was made by a newer version, must be migrated first, or needs a newer server.
    #[error("the schema does not fit: {0}")]
    Schema(String),
    /// It was transferred to another place, or is being filled by a transfer: it is not the
    /// one to be served.
    #[error("{0}")]
    Moved(String),
    /// The request key of the call came before with another request; nothing was done.
    #[error("the request key was used for another request")]
    KeyReused,
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// Answer of a port of the store.
pub type StoreResult<T> = Result<T, StoreError>;
