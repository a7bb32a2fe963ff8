//! Claims about the three methods of the PostgreSQL spike (decision 0005), on a
//! cluster made from the installed programs. Where there are none, the tests say
//! so in one line and claim nothing.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test may stop where it stands, as the test itself may"
)]

mod at_once;
mod claims;
mod cluster;
mod draws;
mod proxy;
mod world;
