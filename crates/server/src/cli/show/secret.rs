//! The secrets of a data directory, for people.

use super::yes;
use tombola_store::read::{SealFact, SealVersionFact};

pub(in crate::cli) const SECRET_HEAD: &[&str] = &[
    "VERSION",
    "IN SECRET.KEY",
    "CODES",
    "ADDRESSES",
    "ENDPOINTS",
    "NEEDED FOR",
];

pub(in crate::cli) fn secret_row(it: &SealVersionFact, newest: i32) -> Vec<String> {
    let rows = |table: &str| it.rows.get(table).copied().unwrap_or_default().to_string();
    let (version, is_there) = match it.version {
        0 => ("plain".to_owned(), "-".to_owned()),
        version => (version.to_string(), yes(it.is_there)),
    };
    let needed = if it.version == newest {
        "new rows and tokens"
    } else if it.version > newest && it.is_there {
        "nothing yet: it waits"
    } else if it.version == 0 {
        "-"
    } else if it.is_needed {
        "rows, tokens of before"
    } else {
        "tokens of before"
    };
    let counts = ["code", "address", "endpoint"].map(rows);
    [version, is_there]
        .into_iter()
        .chain(counts)
        .chain([needed.to_owned()])
        .collect()
}

/// What the table cannot say.
pub(in crate::cli) fn secret_notes(it: &SealFact) -> Vec<String> {
    let mut notes = Vec::new();
    if it.is_resealing {
        notes.push("older rows are still to be sealed anew; a running server does it".to_owned());
    }
    if it.stuck > 0 {
        notes.push(format!(
            "{} rows did not open: put the missing version back into secret.key and start the server again",
            it.stuck
        ));
    }
    notes
}
