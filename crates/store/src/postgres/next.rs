//! What the version after this one brings to the schema, for tests of an upgrade: a column
//! and an index on a table through which every award goes, and nothing that this version
//! would have to know.

use super::migrate::{Migration, NEWEST};
use tombola_core::next;

const NEXT: Migration = Migration {
    version: NEWEST + 1,
    name: "next",
    needs: NEWEST,
    sql: "ALTER TABLE delivery ADD COLUMN next_note text;
          CREATE INDEX delivery_next_note ON delivery (next_note) WHERE next_note IS NOT NULL;",
};

/// Of the next version, where this program is it.
pub(super) fn migration() -> Option<&'static Migration> {
    next::is_next().then_some(&NEXT)
}
