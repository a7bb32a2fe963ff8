//! The audit: every number that the draws, deliveries, codes and points keep beside
//! their rows is counted again from the rows, on one state of the database, while
//! everything goes on. The names of the checks begin with the invariants of
//! RELIABILITY.
//!
//! Most checks are one statement each, whose rows are the violations. Two need the
//! rules: a sample of draws, or all of them, is drawn again by its own version,
//! roll and set of prizes that could not be given; and the ids in request rows are
//! matched one by one with the draws. One needs the secrets: a sample of codes, or
//! all of them, is opened.

mod allowances;
mod checks;
mod replay;
mod requests;
mod rules;
mod seals;
#[cfg(test)]
mod tests;
mod totals;

pub(crate) use requests::REQUESTS_REMOVED;

use crate::sql::Connection;
use crate::sql::OrStoreError as _;
use crate::{Shared, Store};
use rules::Versions;
use serde::{Deserialize, Serialize};
use tombola_core::limits::{AUDIT_EXAMPLES_MAX, AUDIT_TIMEOUT};
use tombola_core::ports::StoreResult;

/// How many draws are drawn again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AuditDepth {
    /// About ten thousand, spread over all.
    #[default]
    Sampled,
    /// Every one.
    Full,
}

/// What the audit found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AuditReport {
    /// Whether no check found anything.
    pub ok: bool,
    /// Every check, those that found nothing too.
    pub checks: Vec<Check>,
    /// What each campaign's rows add up to.
    pub campaigns: Vec<CampaignCount>,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Check {
    /// The invariant and what is looked at.
    pub name: String,
    /// How many violations there are.
    pub violations: u64,
    /// The first of them, in words.
    pub examples: Vec<String>,
}

/// One campaign, counted from its rows:
/// wins = delivered + unfinished + dead + cancelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CampaignCount {
    /// Its slug.
    pub campaign: String,
    /// Draws.
    pub draws: u64,
    /// Draws that won.
    pub wins: u64,
    /// Awards delivered.
    pub delivered: u64,
    /// Awards that are pending, delivering, retryable or held.
    pub unfinished: u64,
    /// Of the unfinished, those held.
    pub held: u64,
    /// Awards given up on.
    pub dead: u64,
    /// Awards ended by an operator or a deadline.
    pub cancelled: u64,
}

impl Store {
    /// Audits the whole database. It holds back the log of the database while it
    /// runs, so one at a time is enough.
    pub async fn audit(&self, depth: AuditDepth) -> StoreResult<AuditReport> {
        let shared = self.shared();
        self.read_within(AUDIT_TIMEOUT, move |conn| audit(conn, &shared, depth))
            .await
    }
}

pub(crate) fn audit(
    conn: &Connection,
    shared: &Shared,
    depth: AuditDepth,
) -> StoreResult<AuditReport> {
    let versions = Versions::load(conn)?;
    let totals = totals::count(conn).or_store()?;
    let mut checks = checks::run(conn, &versions, shared.schedule.attempts_max).or_store()?;
    checks.extend(totals::checks(&totals));
    checks.push(allowances::check(conn).or_store()?);
    checks.push(requests::check(conn).or_store()?);
    checks.push(replay::check(conn, &versions, depth).or_store()?);
    checks.push(seals::check(conn, &shared.seals.now(), depth).or_store()?);
    checks.sort_by(|a, b| natural(&a.name).cmp(&natural(&b.name)));
    let campaigns = totals.into_iter().map(|total| total.count).collect();
    Ok(AuditReport {
        ok: checks.iter().all(|check| check.violations == 0),
        checks,
        campaigns,
    })
}

/// `I2` before `I11`.
fn natural(name: &str) -> (&str, u32, &str) {
    let (head, rest) = name.split_once('_').unwrap_or((name, ""));
    let digits = head.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    (
        &head[..head.len() - digits.len()],
        digits.parse().unwrap_or(0),
        rest,
    )
}

impl Check {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            violations: 0,
            examples: Vec::new(),
        }
    }

    fn found(&mut self, example: impl FnOnce() -> String) {
        self.violations += 1;
        if self.examples.len() < AUDIT_EXAMPLES_MAX {
            self.examples.push(example());
        }
    }
}
