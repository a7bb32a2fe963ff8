//! What an operator may set: `defaults < tombola.toml < TOMBOLA_SECTION__KEY <
//! flags`. Each section is a struct whose doc lines are its reference; an unknown
//! key is an error that names the nearest known one, and every key has a default
//! that works on a laptop.

mod http;
mod kafka;
mod load;
mod rate;
mod reference;
mod section;
mod sections;
mod span;
#[cfg(test)]
mod tests;

pub use http::Http;
pub use load::{ConfigError, Flag, Loaded, Origin, Sources, load};
pub use rate::Rate;
pub use reference::{example, page};
pub use sections::{Broker, Campaigns, Database, Delivery, Foreign, Log, Retention};
pub use span::Span;

use section::{About, Complaint};
use serde::{Deserialize, Serialize};

/// All settings of one process.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `[database]`
    pub database: Database,
    /// `[broker]`
    pub broker: Broker,
    /// `[http]`
    pub http: Http,
    /// `[campaigns]`
    pub campaigns: Campaigns,
    /// `[delivery]`
    pub delivery: Delivery,
    /// `[retention]`
    pub retention: Retention,
    /// `[log]`
    pub log: Log,
}

/// Every section, in the order of the reference.
const SECTIONS: &[About] = &[
    Database::ABOUT,
    Broker::ABOUT,
    Http::ABOUT,
    Campaigns::ABOUT,
    Delivery::ABOUT,
    Retention::ABOUT,
    Log::ABOUT,
];

impl Config {
    /// What is wrong with the values, each with its key.
    fn complaints(&self) -> Vec<Complaint> {
        let of_sections = [
            self.database.validate(),
            self.broker.validate(),
            self.http.validate(),
            self.delivery.validate(),
            self.retention.validate(),
            self.log.validate(),
        ];
        of_sections.into_iter().flatten().collect()
    }
}
