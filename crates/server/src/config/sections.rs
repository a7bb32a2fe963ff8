//! The sections: one line a key, with its default from `core::limits` where the
//! bound stands there.

use super::kafka::are_brokers;
use super::section::{Complaint, section};
use super::span::Span;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tombola_core::campaign::Approval;
use tombola_core::limits;
use tombola_core::retry::Schedule;
use tombola_engine::{Adopt, PrizeOf};
use tombola_store::postgres::{PostgresOptions, UrlError};

section! {
    /// Where draws, awards and everything else are kept.
    Database ["database"] {
        /// `sqlite://PATH`, or `postgres://USER:PASSWORD@HOST/DATABASE` for as many processes as
        /// you like; of its parameters `sslmode` and `sslrootcert` say how the server is believed
        /// (`verify-full` unless said, none on this machine; `require` verifies as well). With
        /// SQLite the keys, the lock and the socket of the server lie in the same directory as the
        /// file. `--data DIR` is short for `sqlite://DIR/tombola.db`.
        url: String = "sqlite://./tombola-data/tombola.db".to_owned(),
        /// A file that holds the url instead: with PostgreSQL it has a password in it. Of the two
        /// the one that was set later, as above, is meant.
        url_file: String = String::new(),
        /// With PostgreSQL: where this process keeps its lock, its socket and
        /// `secret.key`. Each process has one of its own.
        directory: String = "./tombola-data".to_owned(),
        /// With PostgreSQL: the file of the secrets instead of `secret.key` of the
        /// directory. All processes need the same secrets.
        secret_key_file: String = String::new(),
        /// With PostgreSQL: connections of this process for draws, deliveries and all
        /// else that writes.
        connections_max: u32 = limits::DATABASE_CONNECTIONS_MAX,
        /// With PostgreSQL: connections of this process for reads for people.
        read_connections_max: u32 = limits::DATABASE_READ_CONNECTIONS_MAX,
    }
}

section! {
    /// The topic between the draw and its delivery.
    Broker ["broker"] {
        /// `memory:` keeps the topic in this process, which needs all roles in it;
        /// `kafka://h1:9092,h2:9092` names brokers of Kafka, any of the cluster's.
        url: String = "memory:".to_owned(),
        /// Name of the topic.
        topic: String = "lottery_invoice".to_owned(),
        /// The group that the workers join.
        group: String = "lottery".to_owned(),
        /// Partitions of the topic in memory, and of one that `tombola topic create`
        /// makes unless it is told otherwise.
        partitions: i32 = limits::TOPIC_PARTITIONS,
        /// Settings of librdkafka by their own names, in a table `[broker.kafka]` with lines
        /// such as `security.protocol="SASL_SSL"`. One that would take a promise away is
        /// refused by name. In a variable the dots are underscores:
        /// `TOMBOLA_BROKER__KAFKA__SASL_USERNAME`. A secret may stand in a file, which
        /// `sasl.password_file`, `ssl.key.password_file` and the like name.
        kafka: BTreeMap<String, String> = BTreeMap::new(),
    }
}

section! {
    /// How campaigns are put in force.
    Campaigns ["campaigns"] {
        /// `anybody`: whoever may operate may approve what they submitted themselves;
        /// `second_person`: another client name has to. All commands on the server's own
        /// machine are one person, `local`.
        approval: Approval = Approval::Anybody,
    }
}

section! {
    /// When an award is looked at again. The waits between attempts are
    /// `retry_first` times 3 to the power of the attempts before, up to `retry_max`,
    /// varied by 20 % up and down.
    Delivery ["delivery"] {
        /// How long a fresh publish may be on its way before rescue looks at it.
        grace_first: Span = Span(limits::GRACE_FIRST),
        /// The grace doubles with each publish, up to this.
        grace_max: Span = Span(limits::GRACE_MAX),
        /// How long a claim holds; more than the longest call (30s) plus 10s to
        /// record it.
        lease_time: Span = Span(limits::LEASE_TIME),
        /// Wait after the first failed attempt.
        retry_first: Span = Span(limits::RETRY_FIRST),
        /// Longest wait between attempts.
        retry_max: Span = Span(limits::RETRY_MAX),
        /// Attempts before an award is a dead letter.
        attempts_max: u32 = limits::ATTEMPTS_MAX,
        /// How long an endpoint may be at fault before its awards are dead letters.
        defer_max: Span = Span(limits::DEFER_MAX),
        /// A message is published again after this long, whatever the lag.
        redelivery_max: Span = Span(limits::REDELIVERY_MAX),
        /// A hold without a date of its own is looked at again after this long.
        hold_review: Span = Span(limits::HOLD_REVIEW),
        /// What becomes of messages of another draw system, which have no `messageId`:
        /// `dead_letter` keeps them for people, `adopt` takes each in as an award, once for
        /// each of its orders (`orderId`).
        foreign: Foreign = Foreign::DeadLetter,
        /// With `adopt`: the name of that system, within which its orders are unique. It
        /// stands as the client of what is adopted. Never give it to another system.
        foreign_source: String = "lottery".to_owned(),
        /// With `adopt`: the prize of each `awardId` of that system, in a table
        /// `[delivery.foreign_prizes]` with lines such as `"1"="spring-festival/phone"`. A
        /// prize that adopts has no stock, no cap and no limit, and its campaign no `[limits]`:
        /// whoever draws counts. In a variable with commas:
        /// `TOMBOLA_DELIVERY__FOREIGN_PRIZES=1=spring-festival/phone,2=spring-festival/mug`.
        foreign_prizes: BTreeMap<String, String> = BTreeMap::new(),
    }
}

/// What becomes of messages of another draw system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Foreign {
    /// They are kept for people.
    DeadLetter,
    /// Each becomes an award.
    Adopt,
}

section! {
    /// How long finished things are kept. Nothing unfinished is ever removed.
    Retention ["retention"] {
        /// How long the history of attempts, request keys of closed campaigns and kept
        /// messages stay; longer than `delivery.redelivery_max`.
        finished: Span = Span(Duration::from_hours(180 * 24)),
    }
}

section! {
    /// What is logged; logs go to stderr.
    Log ["log"] {
        /// `error`, `warn`, `info`, `debug` or `trace`, or a list such as
        /// `info,tombola_engine=debug`.
        filter: String = "info".to_owned(),
        /// `text` or `json`, one object a line.
        format: String = "text".to_owned(),
        /// Whether each request is a line, at `info` under `tombola::access`.
        access: bool = true,
    }
}

/// One parameter of a url; a name that is written in escapes may be that of a password.
fn parameter_shown(pair: &str) -> String {
    match pair.split_once('=') {
        Some((name, _)) if name == "password" || name.contains('%') => format!("{name}=…"),
        Some(_) | None => pair.to_owned(),
    }
}

impl Database {
    /// Puts what `url_file` holds in the place of the url.
    pub(super) fn read_url_file(&mut self) -> Result<(), String> {
        if self.url_file.is_empty() {
            return Ok(());
        }
        let text = std::fs::read_to_string(&self.url_file)
            .map_err(|error| format!("`database.url_file`: {}: {error}", self.url_file))?;
        text.trim().clone_into(&mut self.url);
        Ok(())
    }

    /// The url without its passwords: the one before the host, and the one that may stand
    /// among the parameters. Where it cannot be told what is one, all is left out.
    pub fn url_shown(&self) -> String {
        let Some((scheme, rest)) = self.url.split_once("://") else {
            return self.url.clone();
        };
        if !self.is_postgres() {
            return self.url.clone();
        }
        let place_end = rest.find('?').unwrap_or(rest.len());
        let Some(at) = rest[..place_end]
            .rfind('@')
            .or_else(|| (!rest.contains('@')).then_some(0))
        else {
            return format!("{scheme}://…");
        };
        let (user, rest) = rest.split_at(at);
        let user = match user.split_once(':') {
            Some((user, _password)) => format!("{user}:…"),
            None => user.to_owned(),
        };
        let Some((place, query)) = rest.split_once('?') else {
            return format!("{scheme}://{user}{rest}");
        };
        let pairs: Vec<String> = query.split('&').map(parameter_shown).collect();
        format!("{scheme}://{user}{place}?{}", pairs.join("&"))
    }

    /// Whether the database is on a server that other processes use as well.
    pub fn is_postgres(&self) -> bool {
        self.url.starts_with("postgres://") || self.url.starts_with("postgresql://")
    }

    /// How to reach PostgreSQL, if the database is there.
    pub fn postgres(&self) -> Result<Option<PostgresOptions>, UrlError> {
        if !self.is_postgres() {
            return Ok(None);
        }
        let size = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
        Ok(Some(PostgresOptions {
            pool_max: size(self.connections_max),
            reads_max: size(self.read_connections_max),
            ..PostgresOptions::parse(&self.url)?
        }))
    }

    /// The file of the database; `None` where the url is of another database.
    pub fn file(&self) -> Option<PathBuf> {
        let path = self.url.strip_prefix("sqlite://")?;
        (!path.is_empty()).then(|| PathBuf::from(path))
    }

    /// The data directory: where the file, the keys, the lock and the socket are.
    pub fn directory(&self) -> Option<PathBuf> {
        if self.is_postgres() {
            return Some(PathBuf::from(&self.directory));
        }
        let file = self.file()?;
        let parent = file.parent().unwrap_or(Path::new(""));
        Some(if parent.as_os_str().is_empty() {
            PathBuf::from(".")
        } else {
            parent.to_path_buf()
        })
    }

    pub(super) fn validate(&self) -> Vec<Complaint> {
        let mut found = Vec::new();
        match self.postgres() {
            Ok(None) if self.file().is_none() => found.push(Complaint::new(
                "database.url",
                "use sqlite://PATH or postgres://USER:PASSWORD@HOST/DATABASE",
            )),
            Ok(_) => {}
            Err(error) => found.push(Complaint::new("database.url", error.to_string())),
        }
        if self.is_postgres() && self.directory.is_empty() {
            found.push(Complaint::new("database.directory", "name a directory"));
        }
        for (key, count) in [
            ("database.connections_max", self.connections_max),
            ("database.read_connections_max", self.read_connections_max),
        ] {
            let asked = limits::DATABASE_CONNECTIONS_ASKED;
            if !asked.contains(&count) {
                let mend = format!("use {} to {}", asked.start(), asked.end());
                found.push(Complaint::new(key, mend));
            }
        }
        found
    }
}

impl Broker {
    pub(super) fn validate(&self) -> Vec<Complaint> {
        let mut found = Vec::new();
        let is_known = self.url == "memory:" || self.brokers().is_some_and(are_brokers);
        if !is_known {
            found.push(Complaint::new(
                "broker.url",
                "use memory:, or kafka://HOST:PORT with commas between brokers",
            ));
        }
        for (key, name) in [("broker.topic", &self.topic), ("broker.group", &self.group)] {
            let is_name = (1..=249).contains(&name.len())
                && name
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
            if !is_name {
                found.push(Complaint::new(
                    key,
                    "use 1 to 249 of a-z, A-Z, 0-9, ., _ and -",
                ));
            }
        }
        if !(1..=1000).contains(&self.partitions) {
            found.push(Complaint::new("broker.partitions", "use 1 to 1000"));
        }
        found
    }
}

impl Delivery {
    /// The settings as the engine and the store use them.
    pub fn schedule(&self) -> Schedule {
        Schedule {
            grace_first: self.grace_first.0,
            grace_max: self.grace_max.0,
            lease_time: self.lease_time.0,
            retry_first: self.retry_first.0,
            retry_max: self.retry_max.0,
            attempts_max: self.attempts_max,
            defer_max: self.defer_max.0,
            redelivery_max: self.redelivery_max.0,
            hold_review: self.hold_review.0,
        }
    }

    /// Whose messages are adopted, if any are.
    pub fn adopt(&self, claim_key_version: i32) -> Option<Adopt> {
        let prize = |(award_id, prize): (&String, &String)| {
            let (campaign, prize) = prize.split_once('/')?;
            let prize = PrizeOf {
                campaign: campaign.into(),
                prize: prize.into(),
            };
            Some((award_id.clone(), prize))
        };
        (self.foreign == Foreign::Adopt).then(|| Adopt {
            source: self.foreign_source.as_str().into(),
            prizes: self.foreign_prizes.iter().filter_map(prize).collect(),
            claim_key_version,
        })
    }

    fn foreign_problem(&self) -> Option<Complaint> {
        let map = "delivery.foreign_prizes";
        let is_adopted = self.foreign == Foreign::Adopt;
        if !is_adopted && !self.foreign_prizes.is_empty() {
            let what = "it is of no use without delivery.foreign = \"adopt\": set that, or take the map away";
            return Some(Complaint::new(map, what));
        }
        if is_adopted && self.foreign_prizes.is_empty() {
            let what = "delivery.foreign = \"adopt\" needs it: name a prize for each awardId, such as \"1\" = \"spring-festival/phone\"";
            return Some(Complaint::new(map, what));
        }
        let is_slug = |text: &str| {
            (1..=limits::SLUG_BYTES_MAX).contains(&text.len())
                && text
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        let is_prize = |it: &str| {
            it.split_once('/')
                .is_some_and(|(a, b)| is_slug(a) && is_slug(b))
        };
        let mut wrong = self.foreign_prizes.iter().filter(|(_, it)| !is_prize(it));
        if let Some((award_id, prize)) = wrong.next() {
            let what = format!("{award_id:?} = {prize:?}: write CAMPAIGN/PRIZE, by their slugs");
            return Some(Complaint::new(map, what));
        }
        let is_name = (1..=64).contains(&self.foreign_source.len())
            && self.foreign_source.bytes().all(|b| b.is_ascii_graphic());
        (!is_name).then(|| {
            let what = "use 1 to 64 visible ASCII characters";
            Complaint::new("delivery.foreign_source", what)
        })
    }

    pub(super) fn validate(&self) -> Vec<Complaint> {
        let mut found = Vec::new();
        let mut claim = |holds: bool, key, what: &str| {
            if !holds {
                found.push(Complaint::new(key, what));
            }
        };
        // A call that may still run is never taken for lost.
        let call_and_record = limits::CALL_TIMEOUT_MAX + limits::RECORD_ALLOWANCE;
        claim(
            self.lease_time.0 > call_and_record,
            "delivery.lease_time",
            "use more than 40s: the longest call plus the time to record it",
        );
        // The broker reports, and a hand-off expires, before rescue owns the row.
        let report = limits::PUBLISH_TIMEOUT.max(limits::HANDOFF_AGE_MAX);
        claim(
            self.grace_first.0 > report,
            "delivery.grace_first",
            "use more than 4s: a publish may take that long to be reported",
        );
        claim(
            self.grace_max >= self.grace_first,
            "delivery.grace_max",
            "use at least delivery.grace_first",
        );
        claim(
            !self.retry_first.0.is_zero(),
            "delivery.retry_first",
            "use at least 1ms",
        );
        claim(
            self.retry_max >= self.retry_first,
            "delivery.retry_max",
            "use at least delivery.retry_first",
        );
        claim(
            (1..=1000).contains(&self.attempts_max),
            "delivery.attempts_max",
            "use 1 to 1000",
        );
        claim(
            self.redelivery_max >= self.grace_max,
            "delivery.redelivery_max",
            "use at least delivery.grace_max",
        );
        claim(
            !self.hold_review.0.is_zero(),
            "delivery.hold_review",
            "use at least 1ms",
        );
        found.extend(self.foreign_problem());
        found
    }
}

impl Retention {
    pub(super) fn validate(&self) -> Vec<Complaint> {
        // Rows outlive every copy that could still come.
        if self.finished.0 < Duration::from_hours(48) {
            return vec![Complaint::new("retention.finished", "use at least 2d")];
        }
        Vec::new()
    }
}

impl Log {
    pub(super) fn validate(&self) -> Vec<Complaint> {
        let mut found = Vec::new();
        if self
            .filter
            .parse::<tracing_subscriber::EnvFilter>()
            .is_err()
        {
            found.push(Complaint::new(
                "log.filter",
                "use a level such as info, or a list of target=level",
            ));
        }
        if !["text", "json"].contains(&self.format.as_str()) {
            found.push(Complaint::new("log.format", "use text or json"));
        }
        found
    }
}
