//! Every table that is moved, once: its columns with their types on PostgreSQL, its
//! primary key on SQLite, by which it is walked. A test compares the list with the
//! schema of both databases, so that a new table or column cannot be forgotten.

use Type::{Bool, Bytes, Int2, Int4, Int8, Text, Words};
use tombola_core::Timestamp;

/// The type of a column on PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Bool,
    Int2,
    Int4,
    Int8,
    Text,
    /// Text that only people read: a U+0000 in it, which PostgreSQL does not take, is left
    /// out. In any other text it is an error.
    Words,
    Bytes,
}

impl Type {
    /// As PostgreSQL calls it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Bool => "boolean",
            Int2 => "smallint",
            Int4 => "integer",
            Int8 => "bigint",
            Text | Words => "text",
            Bytes => "bytea",
        }
    }
}

/// One table.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    /// Its primary key on SQLite, by PostgreSQL's names: integers and texts.
    pub(super) key: &'static [&'static str],
    pub(super) columns: &'static [(&'static str, Type)],
    /// Whether PostgreSQL gives out its `id`.
    pub(super) has_identity: bool,
    /// Which rows are moved, on both databases; empty: all.
    pub(super) filter: &'static str,
}

const fn table(
    name: &'static str,
    key: &'static [&'static str],
    columns: &'static [(&'static str, Type)],
) -> Table {
    Table {
        name,
        key,
        columns,
        has_identity: false,
        filter: "",
    }
}

/// One whose `id` PostgreSQL gives out.
const fn numbered(name: &'static str, columns: &'static [(&'static str, Type)]) -> Table {
    Table {
        has_identity: true,
        ..table(name, &["id"], columns)
    }
}

/// In the order of the walk: what is referred to comes first.
#[rustfmt::skip]
pub(super) const TABLES: &[Table] = &[
    Table {
        // What is said of this file alone stays with it.
        filter: "\"name\" NOT IN ('transfer', 'backup_taken_at')",
        ..table("meta", &["name"], &[("name", Text), ("value", Text)])
    },
    table("id_block", &["one"], &[("one", Int4), ("next", Int8)]),
    table("seal_key", &["version"], &[("version", Int4), ("mark", Bytes)]),
    table("digest_key", &["one"], &[
        ("one", Int4), ("key_version", Int4), ("sealed", Bytes), ("plain_until", Int8),
    ]),
    table("reseal", &["one"], &[
        ("one", Int4), ("version", Int4), ("at_table", Text), ("after", Int8), ("stuck", Int8),
    ]),
    table("endpoint", &["lane"], &[
        ("lane", Int8), ("name", Text), ("spec", Text), ("enabled", Bool), ("updated_at", Int8),
        ("key_version", Int4), ("sealed", Bytes), ("secret_ends", Text),
    ]),
    table("pause", &["campaign", "prize", "endpoint"], &[
        ("campaign", Text), ("prize", Text), ("endpoint", Text), ("at", Int8),
    ]),
    table("blocked_user", &["user_id"], &[("user_id", Text), ("reason", Words), ("at", Int8)]),
    table("erasing", &["user_id"], &[("user_id", Text), ("pseudonym", Text)]),
    numbered("api_key", &[
        ("id", Int8), ("client", Text), ("role", Text), ("hash", Bytes), ("created_at", Int8),
        ("expires_at", Int8), ("revoked_at", Int8), ("campaigns", Text),
    ]),
    numbered("campaign", &[
        ("id", Int8), ("slug", Text), ("state", Text), ("version", Int4), ("next_version", Int4),
        ("next_state", Text), ("draws_besides", Int8), ("wins_besides", Int8), ("day", Int4),
        ("submitted_by", Text),
        ("created_at", Int8), ("updated_at", Int8),
    ]),
    table("campaign_version", &["campaign_id", "version"], &[
        ("campaign_id", Int8), ("version", Int4), ("file", Text), ("created_at", Int8),
    ]),
    numbered("prize", &[
        ("id", Int8), ("campaign_id", Int8), ("slug", Text), ("kind", Text), ("stock", Int8),
        ("spent_besides", Int8), ("day", Int4), ("day_spent_besides", Int8),
    ]),
    table("allowance", &["campaign_id", "user_id"], &[
        ("campaign_id", Int8), ("user_id", Text), ("total", Int8), ("day", Int4), ("day_total", Int8),
    ]),
    table("user_win", &["prize_id", "user_id"], &[
        ("prize_id", Int8), ("user_id", Text), ("wins", Int8),
    ]),
    table("request", &["campaign_id", "request_key", "client"], &[
        ("campaign_id", Int8), ("client", Text), ("request_key", Text), ("fingerprint", Bytes),
        ("first_draw", Int8), ("more_draws", Bytes),
    ]),
    table("kept_request", &["request_key", "operation", "client"], &[
        ("client", Text), ("operation", Text), ("request_key", Text), ("fingerprint", Bytes),
        ("effect", Text), ("status", Int4), ("body", Bytes), ("at", Int8), ("user_id", Text),
    ]),
    table("draw", &["id"], &[
        ("id", Int8), ("campaign_id", Int8), ("version", Int4), ("user_id", Text), ("client", Text),
        ("prize_id", Int8), ("roll", Int8), ("unavailable", Bytes), ("drawn_at", Int8), ("day", Int4),
        ("claim_key", Int4), ("traceparent", Text),
    ]),
    table("adopted", &["source", "order_id"], &[
        ("source", Text), ("order_id", Int8), ("award_id", Int8),
    ]),
    table("draw_span", &["span", "campaign_id"], &[
        ("span", Int8), ("campaign_id", Int8), ("from_at", Int8), ("to_at", Int8),
    ]),
    table("delivery", &["award_id"], &[
        ("award_id", Int8), ("prize_id", Int8), ("kind", Text), ("lane", Int8), ("state", Text),
        ("lease", Int8), ("due_at", Int8), ("attempts", Int4), ("publishes", Int4), ("in_doubt", Bool),
        ("hold_reason", Text), ("dead_reason", Text), ("held_at", Int8), ("deferred_since", Int8),
        ("mq_state", Int2), ("topic_epoch", Int8), ("partition", Int4), ("offset", Int8),
        ("message_id", Text), ("delivery_key", Text), ("ended_at", Int8),
    ]),
    table("attempt", &["award_id", "n"], &[
        ("award_id", Int8), ("n", Int4), ("at", Int8), ("what", Text), ("lease", Int8),
        ("decision", Text), ("state", Text), ("due_at", Int8), ("detail", Words),
    ]),
    numbered("code_import", &[
        ("id", Int8), ("campaign_id", Int8), ("prize_id", Int8), ("ready", Int2), ("codes", Int8),
        ("created_at", Int8), ("ready_at", Int8),
    ]),
    numbered("code", &[
        ("id", Int8), ("import_id", Int8), ("campaign_id", Int8), ("digest", Bytes),
        ("key_version", Int4), ("sealed", Bytes), ("award_id", Int8), ("voided_at", Int8),
    ]),
    table("points_entry", &["award_id"], &[
        ("award_id", Int8), ("user_id", Text), ("points", Int8), ("at", Int8),
    ]),
    table("points_reversal", &["award_id"], &[
        ("award_id", Int8), ("user_id", Text), ("points", Int8), ("at", Int8),
    ]),
    table("address", &["award_id"], &[
        ("award_id", Int8), ("key_version", Int4), ("sealed", Bytes), ("at", Int8),
    ]),
    table("shipment", &["award_id"], &[
        ("award_id", Int8), ("carrier", Text), ("tracking", Text), ("at", Int8),
    ]),
    numbered("kept_message", &[
        ("id", Int8), ("topic_epoch", Int8), ("partition", Int4), ("offset", Int8),
        ("message_key", Words), ("value", Bytes), ("headers", Text), ("reason", Text), ("at", Int8),
        ("dismissed_at", Int8),
    ]),
    table("dismissed_award", &["award_id"], &[("award_id", Int8), ("lease", Int8), ("at", Int8)]),
    numbered("operator_log", &[
        ("id", Int8), ("at", Int8), ("actor", Text), ("action", Text), ("subject", Text),
        ("award_id", Int8), ("units", Int8), ("reason", Words),
    ]),
    numbered("operation", &[
        ("id", Int8), ("spec", Text), ("actor", Text), ("reason", Words), ("state", Text),
        ("done", Int8), ("in_doubt", Int8), ("refused", Int8), ("after", Int8), ("created_at", Int8),
        ("updated_at", Int8),
    ]),
];

/// What a database has that was opened and never used.
const BEGINNINGS: [&str; 5] = ["meta", "id_block", "seal_key", "digest_key", "reseal"];

impl Table {
    /// Whether a database that nobody has used may have rows of it.
    pub(super) fn is_of_beginnings(&self) -> bool {
        BEGINNINGS.contains(&self.name)
    }

    /// Where the columns of the key are among the columns.
    pub(super) fn key_places(&self) -> impl Iterator<Item = usize> {
        let place = |key: &&str| self.columns.iter().position(|(name, _)| name == key);
        self.key.iter().filter_map(place)
    }

    /// The columns as PostgreSQL names them.
    pub(super) fn postgres_columns(&self) -> String {
        let names = self.columns.iter().map(|(name, _)| format!("\"{name}\""));
        names.collect::<Vec<_>>().join(", ")
    }

    /// Every row that is moved, on PostgreSQL.
    pub(super) fn postgres_rows(&self) -> String {
        let (columns, name) = (self.postgres_columns(), self.name);
        match self.filter {
            "" => format!("SELECT {columns} FROM {name}"),
            filter => format!("SELECT {columns} FROM {name} WHERE {filter}"),
        }
    }

    /// The rows behind a key, in its order, on SQLite and as they are to be on PostgreSQL.
    pub(super) fn sqlite_rows(&self, is_behind: bool, now: Timestamp) -> String {
        let values = self.columns.iter().map(|(name, _)| self.value(name, now));
        let values = values.collect::<Vec<_>>().join(", ");
        format!(
            "SELECT {values} FROM {}{} ORDER BY {}",
            self.name,
            self.sqlite_where(is_behind),
            self.sqlite_key()
        )
    }

    /// How many rows there are behind a key, on SQLite.
    pub(super) fn sqlite_count(&self, is_behind: bool) -> String {
        let condition = self.sqlite_where(is_behind);
        format!("SELECT count(*) FROM {}{condition}", self.name)
    }

    fn sqlite_where(&self, is_behind: bool) -> String {
        let mut conditions = Vec::new();
        if !self.filter.is_empty() {
            conditions.push(self.filter.to_owned());
        }
        if is_behind {
            let places = vec!["?"; self.key.len()].join(", ");
            conditions.push(format!("({}) > ({places})", self.sqlite_key()));
        }
        match conditions.as_slice() {
            [] => String::new(),
            all => format!(" WHERE {}", all.join(" AND ")),
        }
    }

    fn sqlite_key(&self) -> String {
        let names = self.key.iter().map(|name| quoted(name));
        names.collect::<Vec<_>>().join(", ")
    }

    /// Of a delivery, what a start alone would change (see the module), and the position on
    /// a topic that is gone.
    fn value(&self, name: &str, now: Timestamp) -> String {
        let column = quoted(name);
        if self.name != "delivery" {
            return column;
        }
        match name {
            "due_at" => format!(
                "CASE WHEN state IN ('pending', 'delivering') THEN min(due_at, {}) ELSE due_at END",
                now.0
            ),
            "topic_epoch" | "partition" | "offset" => {
                format!("CASE WHEN due_at IS NULL THEN {column} END")
            }
            _ => column,
        }
    }
}

/// The whole list, as table, column and type on PostgreSQL: for the test that compares it.
#[cfg(feature = "conformance")]
pub fn listed() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let columns = |table: &'static Table| {
        table
            .columns
            .iter()
            .map(|it| (table.name, it.0, it.1.name()))
    };
    TABLES.iter().flat_map(columns)
}

/// A column's name on SQLite. What was counted there is counted besides the tally here.
pub(super) fn sqlite_name(name: &str) -> &str {
    match name {
        "user_id" => "user",
        _ => name.strip_suffix("_besides").unwrap_or(name),
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", sqlite_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::fixture::Fixture;
    use std::collections::BTreeSet;

    #[test]
    fn the_list_has_every_table_and_column_of_sqlite_and_their_keys() {
        let fixture = Fixture::new();
        let shell = fixture.shell();
        let conn = shell.sqlite();
        let mut live = BTreeSet::new();
        let mut columns = conn
            .prepare(
                "SELECT t.name, c.name, c.pk FROM sqlite_schema t, pragma_table_info(t.name) c
                 WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%' AND t.name <> 'migration'",
            )
            .unwrap();
        let rows = columns.query_map([], |row| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, i64>(2)?,
            ))
        });
        live.extend(rows.unwrap().map(Result::unwrap));
        let mut listed = BTreeSet::new();
        for table in TABLES {
            for (name, _) in table.columns {
                let place = table.key.iter().position(|key| key == name);
                let place = place.map_or(0, |place| i64::try_from(place).unwrap() + 1);
                listed.insert((table.name.to_owned(), sqlite_name(name).to_owned(), place));
            }
        }
        assert_eq!(listed, live);
    }
}
