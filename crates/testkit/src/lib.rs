//! Worlds for tests: a clock that is moved by hand, a store in memory that is
//! plain and obviously right, and copies of its rules that are broken on purpose,
//! by which the conformance suite shows that it would notice.

pub mod broken;
mod clock;
mod model;

pub use clock::TestClock;
pub use model::{DecideFn, IsAheadFn, Laws, ModelStore};
