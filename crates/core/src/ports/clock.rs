//! Time comes through a port, so that tests move it by hand.

use crate::time::Timestamp;
use std::time::Duration;

/// The clock of one process.
pub trait Clock: Send + Sync {
    /// The instant now, by the database's time.
    fn now(&self) -> Timestamp;
    /// Time since some fixed point; never goes back, whatever happens to the
    /// civil clock.
    fn monotonic(&self) -> Duration;
}
