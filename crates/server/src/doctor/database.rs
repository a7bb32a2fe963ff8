//! The database's file: its schema, its pages, its settings, its log.

use super::bytes;
use crate::api::Finding;
use tombola_core::ports::StoreError;
use tombola_store::read::FileFact;

const SCHEMA: &str = "database.schema";
const PAGES: &str = "database.pages";
const SETTINGS: &str = "database.settings";
const LOG: &str = "database.log";

/// Every check of the file, by name.
pub(super) const NAMES: [&str; 4] = [SCHEMA, PAGES, SETTINGS, LOG];

/// A log that is longer than this is held back by somebody.
const LOG_BYTES_MAX: u64 = 1 << 30;
/// SQLite's number of `synchronous = FULL`.
const FULL: i64 = 2;

pub(super) fn check(fact: &FileFact) -> Vec<Finding> {
    vec![schema(fact), pages(fact), settings(fact), log(fact)]
}

/// The file cannot be read at all.
pub(super) fn unreadable(error: &StoreError) -> Finding {
    Finding::fault(
        PAGES,
        format!("the database cannot be read: {error}"),
        "keep the file as it is, and restore the newest backup: `tombola restore FILE --replace`",
    )
}

fn schema(fact: &FileFact) -> Finding {
    let (present, newest) = (fact.schema.present, fact.schema.newest);
    let what = format!("schema {present} of {newest}");
    if present == 0 {
        Finding::fault(
            SCHEMA,
            "the file is no database of this program",
            "set database.url, or --data, to the right one",
        )
    } else if present > newest {
        Finding::fault(
            SCHEMA,
            format!("{what}: it was used by a newer program"),
            "use the newer program",
        )
    } else if present < newest {
        let mend = "the next start brings it up to date: take a backup before it";
        Finding::warning(SCHEMA, what, mend)
    } else {
        Finding::ok(SCHEMA, what)
    }
}

fn pages(fact: &FileFact) -> Finding {
    match fact.faults.first() {
        None => Finding::ok(PAGES, format!("{}, every page is whole", bytes(fact.bytes))),
        Some(first) => Finding::fault(
            PAGES,
            format!("damaged in {} places at least: {first}", fact.faults.len()),
            "stop the server, keep the file as it is, and restore the newest backup: \
             `tombola restore FILE --replace`",
        ),
    }
}

/// What the first promise stands on: an answer comes after its fsync.
fn settings(fact: &FileFact) -> Finding {
    let is_wal = fact.journal_mode.eq_ignore_ascii_case("wal");
    let is_full = fact.synchronous.is_none_or(|it| it >= FULL);
    let mode = &fact.journal_mode;
    if !is_full {
        Finding::fault(
            SETTINGS,
            "synchronous is not FULL: an answered draw can be lost when the power fails",
            "this build does not set it so: use one as released",
        )
    } else if is_wal {
        let what = "journal_mode wal, synchronous full: an answered draw is on the disk";
        Finding::ok(SETTINGS, what)
    } else {
        // A restored database has it until it is first served.
        let what = format!("journal_mode {mode}: the next start makes it wal");
        Finding::ok(SETTINGS, what)
    }
}

fn log(fact: &FileFact) -> Finding {
    let what = format!("the log beside the database is {}", bytes(fact.log_bytes));
    if fact.log_bytes > LOG_BYTES_MAX {
        let mend = "a long read holds it back, such as a backup or an audit; if none is under way, \
                    look into the server's log";
        Finding::warning(LOG, what, mend)
    } else {
        Finding::ok(LOG, what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::CheckState;
    use std::collections::BTreeMap;
    use tombola_store::Schema;

    fn good() -> FileFact {
        FileFact {
            schema: Schema {
                present: 3,
                newest: 3,
                needs: 3,
            },
            bytes: 1 << 20,
            log_bytes: 0,
            journal_mode: "wal".to_owned(),
            synchronous: Some(FULL),
            faults: Vec::new(),
            secrets: BTreeMap::new(),
        }
    }

    fn states(fact: &FileFact) -> Vec<(String, CheckState)> {
        let not_ok = |it: &Finding| it.state != CheckState::Ok;
        let found = check(fact).into_iter().filter(not_ok);
        found.map(|it| (it.name, it.state)).collect()
    }

    #[test]
    fn each_fact_that_is_amiss_is_found_by_its_own_check() {
        assert_eq!(states(&good()), []);
        let at = |present| FileFact {
            schema: Schema {
                present,
                newest: 3,
                needs: present,
            },
            ..good()
        };
        let is = |name: &str, state| vec![(name.to_owned(), state)];
        assert_eq!(states(&at(2)), is(SCHEMA, CheckState::Warning));
        assert_eq!(states(&at(4)), is(SCHEMA, CheckState::Fault));
        assert_eq!(states(&at(0)), is(SCHEMA, CheckState::Fault));
        let damaged = FileFact {
            faults: vec!["page 7".to_owned()],
            ..good()
        };
        assert_eq!(states(&damaged), is(PAGES, CheckState::Fault));
        let careless = FileFact {
            synchronous: Some(1),
            ..good()
        };
        assert_eq!(states(&careless), is(SETTINGS, CheckState::Fault));
        let long = FileFact {
            log_bytes: LOG_BYTES_MAX + 1,
            ..good()
        };
        assert_eq!(states(&long), is(LOG, CheckState::Warning));
    }
}
