//! What people and programs see from outside: the API by its router and over real
//! connections, the command line through the real binary. The modules are marked as tests so that
//! lints know their helpers for what they are.

#[cfg(test)]
mod access;
#[cfg(test)]
mod backup;
#[cfg(test)]
mod bounds;
#[cfg(test)]
mod browsers;
#[cfg(test)]
mod clients;
#[cfg(test)]
mod codes;
#[cfg(test)]
mod commands;
#[cfg(test)]
mod config;
#[cfg(test)]
mod deploy;
#[cfg(test)]
mod docs;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod doctor_postgres;
#[cfg(test)]
mod document;
#[cfg(test)]
mod draws;
#[cfg(test)]
mod endpoints;
#[cfg(test)]
mod examples;
#[cfg(test)]
mod exports;
#[cfg(test)]
mod lists;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod operate;
#[cfg(test)]
mod problems;
#[cfg(test)]
mod rates;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod restore;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod serving;
#[cfg(test)]
mod standard_webhooks;
#[cfg(test)]
mod transfer;
#[cfg(test)]
mod world;
