//! Lines of awards' logs: how they are told, and how those of a batch are written.

use super::super::session::Work;
use std::collections::HashMap;
use tombola_core::award::{Row, State};
use tombola_core::ports::StoreResult;
use tombola_core::{AwardId, Timestamp};

/// What a line of an award's log is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Publish,
    Deliver,
    Rescue,
}

impl What {
    const fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Deliver => "deliver",
            Self::Rescue => "rescue",
        }
    }
}

/// One line, before it is known what became of the row.
#[derive(Debug, Clone)]
pub(super) struct Line {
    what: What,
    /// The lease that its writer acted under.
    lease: i64,
    decision: &'static str,
    /// Error, receipt or reason; no secret.
    detail: Option<String>,
}

impl Line {
    pub(super) const fn new(what: What, lease: i64, decision: &'static str) -> Self {
        Self {
            what,
            lease,
            decision,
            detail: None,
        }
    }

    /// The same with a detail.
    #[must_use]
    pub(super) fn with(self, detail: Option<&str>) -> Self {
        Self {
            detail: detail.map(plain),
            ..self
        }
    }

    /// The same, for a write that came too late to change the row.
    #[must_use]
    pub(super) fn late(self) -> Self {
        let detail = match self.detail {
            Some(detail) => format!("late: {detail}"),
            None => "late".to_owned(),
        };
        Self {
            detail: Some(detail),
            ..self
        }
    }
}

/// PostgreSQL's text cannot hold U+0000, which receipts and errors from outside may
/// have: one such character must not cost an award its record.
pub(super) fn plain(text: &str) -> String {
    text.replace('\0', "")
}

/// The lines of a batch, as columns.
#[derive(Default)]
pub(super) struct Lines {
    award: Vec<i64>,
    /// Which of its award's lines in this batch.
    nth: Vec<i32>,
    what: Vec<&'static str>,
    lease: Vec<i64>,
    decision: Vec<&'static str>,
    state: Vec<&'static str>,
    due_at: Vec<Option<i64>>,
    detail: Vec<Option<String>>,
    /// How many so far, by award.
    count: HashMap<i64, i32>,
}

impl Lines {
    /// Adds a line; `row` is the award's row as it stands after it.
    pub(super) fn push(&mut self, row: &Row, line: Line) {
        let AwardId(award) = row.award;
        let nth = self.count.entry(award).or_default();
        *nth += 1;
        self.award.push(award);
        self.nth.push(*nth);
        self.what.push(line.what.name());
        self.lease.push(line.lease);
        self.decision.push(line.decision);
        self.state.push(State::name(row.state));
        self.due_at.push(row.due_at.map(|at| at.0));
        self.detail.push(line.detail);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.award.is_empty()
    }

    pub(super) async fn insert(&self, work: &Work<'_>, now: Timestamp) -> StoreResult<()> {
        if self.is_empty() {
            return Ok(());
        }
        let sql = &work.sql.insert_lines;
        work.execute(
            sql,
            &[
                &now.0,
                &self.award,
                &self.nth,
                &self.what,
                &self.lease,
                &self.decision,
                &self.state,
                &self.due_at,
                &self.detail,
            ],
        )
        .await
    }
}
