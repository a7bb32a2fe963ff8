//! Bulk actions: one, a page of them, and what one would take.

use super::{Page, PageQuery};
use crate::sqlite::SqliteStore;
use crate::sqlite::bulk;
use crate::sqlite::error::OrStoreError as _;
use rusqlite::Connection;
use tombola_core::ports::{BulkSpec, Operation, StoreResult};

impl SqliteStore {
    /// The bulk action of that id.
    pub async fn operation_show(&self, id: i64) -> StoreResult<Option<Operation>> {
        self.read(move |conn| bulk::load(conn, id).or_store()).await
    }

    /// Bulk actions, newest first.
    pub async fn operation_list(&self, page: PageQuery) -> StoreResult<Page<Operation>> {
        self.read(move |conn| {
            let operations = list(conn, &page).or_store()?;
            Ok(page.page(operations, |last| last.id.to_string()))
        })
        .await
    }

    /// How many awards a bulk action would take, and how many of them are in doubt.
    pub async fn operation_count(&self, spec: BulkSpec) -> StoreResult<(u64, u64)> {
        self.read(move |conn| bulk::count_matching(conn, &spec).or_store())
            .await
    }
}

fn list(conn: &Connection, page: &PageQuery) -> rusqlite::Result<Vec<Operation>> {
    conn.prepare_cached(
        "SELECT id, spec, actor, reason, state, done, in_doubt, refused, after, created_at, updated_at
         FROM operation WHERE id < ?1 ORDER BY id DESC LIMIT ?2",
    )?
    .query_map([page.below(), page.rows()], bulk::read)?
    .collect()
}
