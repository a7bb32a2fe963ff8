//! What people do to awards, on SQLite. Every change of a row is asked of the
//! award's table, written with its line in the award's log and logged under the
//! operator's name, all in one transaction.

mod act;
pub(crate) mod bulk;
mod end_holds;
mod erase;
pub(crate) mod pause;
mod people;
#[cfg(test)]
mod tests;

use crate::Store;
use crate::requests::once;
use crate::sql::OrStoreError as _;
use crate::store::Priority;
use async_trait::async_trait;
use tombola_core::limits::STEP_ROWS_MAX;
use tombola_core::ports::{
    Acted, Action, Actor, BulkSpec, DeadLetter, Operate, Operation, PauseScope, PointsReversed,
    StoreError, StoreResult,
};
use tombola_core::reason::HoldReason;
use tombola_core::{AwardId, Timestamp};

#[async_trait]
impl Operate for Store {
    async fn act(
        &self,
        award: AwardId,
        action: Action,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<Acted> {
        let shared = self.shared();
        self.write(Priority::Other, 1, move |conn| {
            once(conn, &by, now, || {
                act::act(conn, &shared, award, &action, &by, now)
            })
        })
        .await
    }

    async fn begin_operation(
        &self,
        spec: BulkSpec,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<Operation> {
        if !bulk::is_filter(&spec.filter) {
            return Err(StoreError::Row("a prize needs its campaign".to_owned()));
        }
        self.write(Priority::Other, 1, move |conn| {
            once(conn, &by, now, || {
                bulk::begin(conn, spec.clone(), &by, now).or_store()
            })
        })
        .await
    }

    async fn step_operation(&self, id: i64, now: Timestamp) -> StoreResult<Option<Operation>> {
        let shared = self.shared();
        self.write(Priority::Other, STEP_ROWS_MAX, move |conn| {
            bulk::step(conn, &shared, id, now)
        })
        .await
    }

    async fn cancel_operation(
        &self,
        id: i64,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<Option<Operation>> {
        self.write(Priority::Other, 1, move |conn| {
            once(conn, &by, now, || {
                bulk::cancel(conn, id, &by, now).or_store()
            })
        })
        .await
    }

    async fn running_operations(&self) -> StoreResult<Vec<i64>> {
        self.read(|conn| bulk::running(conn).or_store()).await
    }

    async fn block_user(&self, user: &str, by: Actor, now: Timestamp) -> StoreResult<()> {
        let user = user.to_owned();
        self.write(Priority::Other, 1, move |conn| {
            once(conn, &by, now, || {
                people::block(conn, &user, &by, now).or_store()
            })
        })
        .await
    }

    async fn unblock_user(&self, user: &str, by: Actor, now: Timestamp) -> StoreResult<bool> {
        let user = user.to_owned();
        self.write(Priority::Other, 1, move |conn| {
            once(conn, &by, now, || {
                people::unblock(conn, &user, &by, now).or_store()
            })
        })
        .await
    }

    async fn reverse_points(
        &self,
        award: AwardId,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<PointsReversed> {
        self.write(Priority::Other, 1, move |conn| {
            once(conn, &by, now, || {
                people::reverse_points(conn, award, &by, now).or_store()
            })
        })
        .await
    }

    async fn dismiss(&self, letter: DeadLetter, by: Actor, now: Timestamp) -> StoreResult<bool> {
        self.write(Priority::Other, 1, move |conn| {
            once(conn, &by, now, || {
                people::dismiss(conn, letter, &by, now).or_store()
            })
        })
        .await
    }

    async fn pause(&self, scope: PauseScope, by: Actor, now: Timestamp) -> StoreResult<()> {
        if scope.prize.is_some() && scope.campaign.is_none() {
            return Err(StoreError::Row(
                "a pause of a prize needs its campaign".to_owned(),
            ));
        }
        self.write(Priority::Other, 1, move |conn| {
            once(conn, &by, now, || {
                pause::pause(conn, &scope, &by, now).or_store()
            })
        })
        .await
    }

    async fn resume(&self, scope: PauseScope, by: Actor, now: Timestamp) -> StoreResult<bool> {
        self.write(Priority::Other, 1, move |conn| {
            once(conn, &by, now, || {
                pause::resume(conn, &scope, &by, now).or_store()
            })
        })
        .await
    }

    async fn end_holds(&self, reason: HoldReason, now: Timestamp) -> StoreResult<u64> {
        // What may have ended is looked for beside the writer, which then asks each
        // row again: rows that only wait cost the draws nothing.
        let found = self
            .read(move |conn| end_holds::find(conn, reason).or_store())
            .await?;
        if found.is_empty() {
            return Ok(0);
        }
        let shared = self.shared();
        self.write(Priority::Other, found.len(), move |conn| {
            end_holds::end(conn, &shared, &found, reason, now)
        })
        .await
    }
}
