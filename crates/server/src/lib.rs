//! The server: HTTP, command line, config and wiring. No SQL text, no rules and
//! no loops that move awards: it asks the ports and the engine. There is one
//! handler for each operation; every command is a client of the same router.

pub mod api;
pub mod app;
pub mod claim;
pub mod cli;
pub mod client;
pub mod config;
mod demo;
pub mod directory;
mod doctor;
pub mod http;
mod import;
mod player;
pub mod print;
mod random;
mod restoring;
pub mod secret;
pub mod serve;

/// The version of this program.
pub(crate) fn version() -> String {
    let version = env!("CARGO_PKG_VERSION");
    #[cfg(feature = "next-version")]
    if tombola_core::next::is_next() {
        return format!("{version}-next");
    }
    version.to_owned()
}
