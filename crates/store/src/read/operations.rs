//! Bulk actions: one, a page of them, and what one would take.

use super::page::{Cuts, Page, PageQuery};
use super::walk::page_of;
use crate::Store;
use crate::operate::bulk;
use crate::sql::OrStoreError as _;
use crate::sql::{self, Connection};
use tombola_core::ports::{BulkSpec, Operation, StoreResult};

impl Store {
    /// The bulk action of that id.
    pub async fn operation_show(&self, id: i64) -> StoreResult<Option<Operation>> {
        self.read(move |conn| bulk::load(conn, id).or_store()).await
    }

    /// Bulk actions, newest first.
    pub async fn operation_list(&self, page: PageQuery) -> StoreResult<Page<Operation>> {
        self.read(move |conn| list(conn, page).or_store()).await
    }

    /// How many awards a bulk action would take, and how many of them are in doubt.
    pub async fn operation_count(&self, spec: BulkSpec) -> StoreResult<(u64, u64)> {
        self.read(move |conn| bulk::count_matching(conn, &spec).or_store())
            .await
    }
}

fn list(conn: &Connection, page: PageQuery) -> sql::Result<Page<Operation>> {
    let sql = "SELECT id, spec, actor, reason, state, done, in_doubt, refused, after, created_at, updated_at
       FROM operation WHERE id >= ? AND id < ? ORDER BY id DESC LIMIT ?";
    let cuts = Cuts::one(i64::MIN, page.below(), false);
    page_of(conn, (sql, &[]), (page, cuts), bulk::read, |it| it.id)
}
