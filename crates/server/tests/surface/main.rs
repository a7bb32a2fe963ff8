//! What people and programs see from outside: the API by its router and over real
//! connections, the command line through the real binary.

mod access;
mod codes;
mod commands;
mod config;
mod draws;
mod metrics;
mod problems;
mod serving;
mod world;
