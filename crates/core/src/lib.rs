//! What is true about campaigns, prizes, draws, awards and retries; the wire
//! message; the ports. Nothing here reads a clock, a file, a socket or a source
//! of randomness: instants, texts and rolls come in as values, so every rule
//! gives the same answer to the same input.

pub mod adoption;
pub mod award;
pub mod campaign;
pub mod decision;
pub mod draw;
pub mod endpoint;
pub mod ids;
pub mod limits;
pub mod message;
mod names;
#[cfg(feature = "next-version")]
pub mod next;
pub mod ports;
pub mod reason;
pub mod retry;
pub mod signing;
pub mod time;

pub use ids::{AwardId, DrawId};
pub use time::Timestamp;
