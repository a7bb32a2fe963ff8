//! Claims about the store on PostgreSQL, on the server that `TOMBOLA_TEST_POSTGRES` names
//! (a url of a role that may make databases), or else on a cluster made from the
//! installed programs. Where there is neither, the tests say so in one line and claim
//! nothing.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test may stop where it stands, as the test itself may"
)]

mod at_once;
mod both;
mod claims;
mod codes;
mod conformance;
mod crowd;
mod deliver;
mod draws;
mod facts;
mod failover;
mod migrations;
mod partitions;
mod plans;
mod poison;
mod pool;
mod pooler;
mod processes;
mod proxy;
mod rescue;
mod shared_writes;
mod tls;
mod topic_life;
mod transfer;
mod turns;
mod world;

use tombola_store::conformance::{cluster, server};
