//! The server: HTTP, command line, config and wiring. No SQL text, no rules and
//! no loops that move awards: it asks the ports and the engine. There is one
//! handler for each operation; every command is a client of the same router.

pub mod config;
