//! What is wrong with a campaign file, where, and the mend.

use std::fmt;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// JSON pointer of the key, as `/prize/1/odds`; empty for the whole file.
    pub path: String,
    /// Line and column, both from 1, the column in characters; `None` where the
    /// source has none.
    pub place: Option<(usize, usize)>,
    /// What is wrong, one sentence without a full stop.
    pub what: String,
    /// What to do about it, likewise.
    pub mend: String,
}

impl Problem {
    /// A problem without a place yet.
    pub fn new(path: impl Into<String>, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            place: None,
            what: what.into(),
            mend: mend.into(),
        }
    }

    /// The same at a line and a column.
    #[must_use]
    pub fn at(mut self, place: (usize, usize)) -> Self {
        self.place = Some(place);
        self
    }

    /// `NAME:LINE:COLUMN: what`, and the hint on a line of its own; the pointer
    /// stands in for the place where there is none.
    pub fn display_in(&self, name: &str) -> String {
        match self.place {
            Some((line, column)) => format!("{name}:{line}:{column}: {self}"),
            None if self.path.is_empty() => format!("{name}: {self}"),
            None => format!("{name}: {}: {self}", self.path),
        }
    }

    /// Whether `other` is about the same key or one below it.
    pub(super) fn covers(&self, other: &Self) -> bool {
        other
            .path
            .strip_prefix(&self.path)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  hint: {}", self.what, self.mend)
    }
}

/// Line and column, both from 1, of a byte offset; the column in characters.
pub(super) fn place_of(text: &str, offset: usize) -> (usize, usize) {
    let mut end = offset.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let before = text.get(..end).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
    (
        before.bytes().filter(|byte| *byte == b'\n').count() + 1,
        column,
    )
}

/// A text as messages quote it: escaped, and cut where it is long.
pub(in crate::campaign) fn quoted(text: &str) -> String {
    const CHARS_MAX: usize = 48;
    if text.chars().count() <= CHARS_MAX {
        return format!("{text:?}");
    }
    format!("{:?}…", text.chars().take(CHARS_MAX).collect::<String>())
}
