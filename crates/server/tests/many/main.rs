//! Aim: several processes of the real binary on one PostgreSQL database, with no leader
//! among them: stock, limits and request keys are exact whoever is asked, and what one
//! of them leaves when it stops or dies the others finish. The server is the one that
//! `TOMBOLA_TEST_POSTGRES` names, and the brokers those of `TOMBOLA_TEST_KAFKA`; where there
//! are none the tests say so and claim nothing.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test may stop where it stands, as the test itself may"
)]

mod draws;
mod failover;
mod java;
mod lives;
mod shop;
mod topic;
mod town;
#[cfg(feature = "next-version")]
mod upgrade;
