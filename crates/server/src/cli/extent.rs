//! How much of a list a command shows, and in which form.

use crate::api::Format;
use crate::print::Out;
use clap::Args;

/// Rows of a table unless asked otherwise.
const TABLE_ROWS: usize = 50;

/// How much of a list, and in which form.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Extent {
    /// How many at most; unless said, 50 in a table, and all as CSV or JSON
    #[arg(long)]
    limit: Option<usize>,
    /// Print CSV
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

impl Extent {
    /// Rows of the table.
    pub(super) fn rows(self) -> usize {
        self.limit.unwrap_or(TABLE_ROWS)
    }

    /// Rows of an export at most.
    pub(super) fn limit(self) -> Option<usize> {
        self.limit
    }

    /// The form of an export; `None` is a table.
    pub(super) fn format(self, out: Out) -> Option<Format> {
        if self.csv {
            Some(Format::Csv)
        } else {
            out.is_json().then_some(Format::Jsonl)
        }
    }
}
