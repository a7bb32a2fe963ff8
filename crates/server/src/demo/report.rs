//! What the demo says at its end: a table for each prize, what was refused, and
//! whether anything was lost or paid twice, counted from what the callers and the
//! receiver wrote down, never from the database's own counters.

use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The document of `demo --json`.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Draws asked for.
    pub(crate) draws: u64,
    /// Draws that got an outcome.
    pub(crate) answered: u64,
    /// Draws that got a 4xx.
    pub(crate) refused: u64,
    /// Refusals by their code.
    pub(crate) refusals: BTreeMap<String, u64>,
    /// Answers that won.
    pub(crate) wins: u64,
    /// Answers that won nothing.
    pub(crate) nothing: u64,
    /// Awards by the state in which they ended.
    pub(crate) delivered: u64,
    pub(crate) held: u64,
    pub(crate) dead: u64,
    pub(crate) cancelled: u64,
    /// Answers that cannot be found again as they were given, and wins that were
    /// neither delivered nor ended by a person.
    pub(crate) lost: u64,
    /// Effects beyond one an award, and keys that drew more than once.
    pub(crate) double: u64,
    /// Attempts beyond the first.
    pub(crate) retries: u64,
    /// Calls whose outcome was unknown.
    pub(crate) unknown: u64,
    /// SIGKILLs that hit the server at work.
    pub(crate) kills: u64,
    pub(crate) seconds: f64,
    pub(crate) draws_per_second: f64,
    pub(crate) seed: u64,
    pub(crate) prizes: Vec<PrizeLine>,
    /// The prize that is given instead of one that cannot be.
    pub(crate) fallback: Option<String>,
    /// The document of `audit --json`.
    pub(crate) audit: Value,
    /// What is amiss, in sentences; empty when all is well.
    pub(crate) problems: Vec<String>,
}

/// One prize of the table.
#[derive(Debug, Serialize)]
pub(crate) struct PrizeLine {
    pub(crate) prize: String,
    pub(crate) kind: String,
    pub(crate) odds: String,
    pub(crate) stock: Option<u64>,
    /// Wins to expect from the odds, of the answered draws, under stock, daily cap and wins
    /// per user.
    pub(crate) expected: f64,
    pub(crate) won: u64,
    pub(crate) delivered: u64,
}

impl Report {
    /// Whether nothing is amiss.
    pub(crate) fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// The report for people.
    pub(crate) fn text(&self) -> String {
        use std::fmt::Write as _;
        let mut out = String::new();
        let mut line = |text: String| writeln!(out, "{text}").expect("a string takes any text");
        line(format!(
            "{:<16} {:<9} {:>8} {:>6} {:>9} {:>6} {:>10}",
            "prize", "kind", "odds", "stock", "expected", "won", "delivered"
        ));
        for prize in &self.prizes {
            line(format!(
                "{:<16} {:<9} {:>8} {:>6} {:>9.1} {:>6} {:>10}",
                prize.prize,
                prize.kind,
                prize.odds,
                prize
                    .stock
                    .map_or_else(|| "-".to_owned(), |stock| stock.to_string()),
                prize.expected,
                prize.won,
                prize.delivered
            ));
        }
        let instead = self.fallback.as_deref();
        line(format!(
            "expected: by the odds, of the answered draws; what stock, daily_cap and per_user_wins \
             keep back becomes {}",
            instead.unwrap_or("nothing")
        ));
        line(String::new());
        line(format!(
            "draws {} = answered {} + refused {}{}",
            self.draws,
            self.answered,
            self.refused,
            list(&self.refusals)
        ));
        line(format!(
            "answered {} = wins {} + nothing {}",
            self.answered, self.wins, self.nothing
        ));
        line(format!(
            "wins {} = delivered {} + held {} + dead {} + cancelled {}",
            self.wins, self.delivered, self.held, self.dead, self.cancelled
        ));
        line(format!(
            "retries {}, unknown outcomes {}, kills {}",
            self.retries, self.unknown, self.kills
        ));
        line(format!(
            "{:.0} draws/s; {:.1} s in all; seed {}",
            self.draws_per_second, self.seconds, self.seed
        ));
        let checks = self.audit["checks"].as_array().map_or(0, Vec::len);
        let verdict = if self.audit["ok"] == true {
            "clean"
        } else {
            "NOT CLEAN"
        };
        line(format!(
            "audit {verdict}: {checks} checks recounted from the rows"
        ));
        line(format!("lost {}, double {}", self.lost, self.double));
        for problem in &self.problems {
            line(format!("amiss: {problem}"));
        }
        out
    }
}

fn list(refusals: &BTreeMap<String, u64>) -> String {
    if refusals.is_empty() {
        return String::new();
    }
    let parts: Vec<String> = refusals
        .iter()
        .map(|(code, times)| format!("{code} {times}"))
        .collect();
    format!(" ({})", parts.join(", "))
}
