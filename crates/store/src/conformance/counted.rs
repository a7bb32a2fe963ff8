//! What PostgreSQL says that scans have read of a database, for claims about plans.

use std::collections::BTreeMap;
use std::time::Duration;
use tokio_postgres::{Client, Error, Row};

/// What scans read of one table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Read {
    /// Entries of its indexes.
    pub entries: i64,
    /// Its rows: those to which an index led, and those of whole scans.
    pub rows: i64,
}

/// What scans have read since the database was made, by table; months count as their
/// table.
#[derive(Default)]
pub struct Counted(BTreeMap<String, Read>);

impl Counted {
    /// As far as the sessions have told it; each does when it ends at the latest.
    pub async fn read(client: &Client) -> Result<Self, Error> {
        let sql = "SELECT regexp_replace(t.relname, '^attempt_.*$', 'attempt') AS name,
              coalesce(sum(i.read), 0)::bigint,
              sum(coalesce(t.seq_tup_read, 0) + coalesce(t.idx_tup_fetch, 0))::bigint
            FROM pg_stat_user_tables t LEFT JOIN LATERAL (
              SELECT sum(idx_tup_read) AS read FROM pg_stat_user_indexes WHERE relid = t.relid) i ON true
            GROUP BY 1";
        let of_row = |row: &Row| {
            let (entries, rows) = (row.get(1), row.get(2));
            (row.get(0), Read { entries, rows })
        };
        Ok(Self(
            client.query(sql, &[]).await?.iter().map(of_row).collect(),
        ))
    }

    /// What was read since then, as soon as that is enough; servers before 15 count it a little
    /// later than it was.
    ///
    /// # Panics
    /// Where it is never enough.
    pub async fn until(
        &mut self,
        client: &Client,
        is_enough: impl Fn(&BTreeMap<String, Read>) -> bool,
    ) -> Result<BTreeMap<String, Read>, Error> {
        let counted = async {
            loop {
                let now = Self::read(client).await?;
                let read = now.since(self);
                if is_enough(&read) {
                    *self = now;
                    return Ok(read);
                }
            }
        };
        let counted = tokio::time::timeout(Duration::from_secs(20), counted).await;
        counted.expect("what was read is counted")
    }

    /// Of each table of which something was read meanwhile.
    pub fn since(&self, before: &Self) -> BTreeMap<String, Read> {
        let differences = self.0.iter().map(|(table, now)| {
            let before = before.0.get(table).copied().unwrap_or_default();
            let read = Read {
                entries: now.entries - before.entries,
                rows: now.rows - before.rows,
            };
            (table.clone(), read)
        });
        differences
            .filter(|(_, read)| read.entries + read.rows > 0)
            .collect()
    }
}

/// Returns as soon as every other session of the database has ended.
///
/// # Panics
/// Where sessions stay open.
pub async fn until_alone(client: &Client) -> Result<(), Error> {
    let others = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND backend_type = 'client backend'
          AND pid <> pg_backend_pid()";
    let alone = async {
        while client.query_one(others, &[]).await?.get::<_, i64>(0) > 0 {
            tokio::task::yield_now().await;
        }
        Ok(())
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), alone).await;
    waited.expect("sessions that end when their store does")
}
