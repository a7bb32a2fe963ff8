//! The conformance suite of the store ports: what every store does, said once and
//! run by each of them under the same list of names. A change to a port begins
//! with a case here.
//!
//! Each case is a claim and gets a [`World`]: an empty store, a clock moved by hand
//! and helpers that speak the words of the path. What a case cannot see through the
//! ports it sees through [`Bench`]. Every row that a world shows is checked against
//! the row before it (the lease never falls, a doubt is never cleared, and so on),
//! so each case also tests what holds always.
//!
//! To run it on an implementation, name an `async fn` that opens a fresh one:
//! `tombola_store::conformance_tests!(postgres);`

mod bench;
pub mod cluster;
pub mod counted;
pub mod server;
mod world;

#[macro_use]
mod list;

mod adopt;
mod alone;
mod begin;
mod bulk;
mod campaigns;
mod codes;
mod confirm;
mod copies;
mod crowd;
mod decide;
mod draws;
mod endpoints;
mod ends;
mod holds;
mod kept;
mod keys;
mod lag;
mod limits;
mod local;
mod marks;
mod operate;
mod pauses;
mod people;
mod poison;
mod postgres;
mod requests;
mod rescue;
mod rescue_held;
mod seal;
mod sqlite;
mod stock;

pub use bench::{Bench, Store};
pub use postgres::PostgresBench;
pub use sqlite::SqliteBench;
pub use world::World;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// A case at work.
type Running<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// One named claim.
pub struct Case {
    /// `module::claim`
    pub name: &'static str,
    run: for<'a> fn(&'a World) -> Running<'a>,
}

impl Case {
    /// Runs it on a fresh store; panics where the claim does not hold.
    pub async fn run(&self, bench: Arc<dyn Bench>) {
        let world = World::new(bench);
        (self.run)(&world).await;
        world.look_at_all().await;
    }
}

/// Runs the case of that name.
pub async fn run(name: &str, bench: Arc<dyn Bench>) {
    let case = CASES.iter().find(|case| case.name == name);
    case.unwrap_or_else(|| panic!("the list has no case {name}"))
        .run(bench)
        .await;
}

macro_rules! cases {
    ($($module:ident { $($claim:ident)+ })+) => {
        /// All of them.
        pub const CASES: &[Case] = &[$($(Case {
            name: concat!(stringify!($module), "::", stringify!($claim)),
            run: |world| Box::pin($module::$claim(world)),
        }),+),+];
    };
}
conformance_list!(cases!());
