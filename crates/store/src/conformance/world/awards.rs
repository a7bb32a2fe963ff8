//! What happens to one award of a world, by the words of the path.

use super::World;
use super::words::{EPOCH, Won, actor, ok, only};
use tombola_core::award::{Mark, Position, Row};
use tombola_core::decision::Decision;
use tombola_core::ports::{
    Acted, Action, Claim, Copy, CopyAnswer, Deferral, DuePage, DueQuery, GroupPosition, MarkOf,
    Record, Recorded, Written,
};
use tombola_core::retry::Jitter;
use tombola_core::{AwardId, Timestamp};

impl World {
    /// A copy of the award's message at an offset of its own.
    pub(in crate::conformance) fn copy(&self, won: &Won) -> Copy {
        let position = Position {
            epoch: EPOCH,
            partition: 0,
            offset: self.fresh(),
        };
        Copy {
            award: won.award,
            message_id: won.message_id.clone(),
            position,
        }
    }

    pub(in crate::conformance) async fn deliver(&self, won: &Won) -> CopyAnswer {
        only(ok(self
            .store()
            .deliver_local(vec![self.copy(won)], self.now())
            .await))
    }

    pub(in crate::conformance) async fn try_claim(&self, won: &Won) -> CopyAnswer {
        only(ok(self
            .store()
            .claim(vec![self.copy(won)], self.now())
            .await))
    }

    pub(in crate::conformance) async fn claim(&self, won: &Won) -> Claim {
        let answer = self.try_claim(won).await;
        let CopyAnswer::Claimed(claim) = answer else {
            panic!("not claimed: {answer:?}")
        };
        *claim
    }

    pub(in crate::conformance) async fn defer(&self, won: &Won, until: Timestamp) -> CopyAnswer {
        let deferral = Deferral {
            copy: self.copy(won),
            until,
        };
        only(ok(self.store().defer(vec![deferral], self.now()).await))
    }

    pub(in crate::conformance) async fn mark(
        &self,
        award: AwardId,
        lease: i64,
        mark: Mark,
    ) -> Written {
        let mark = MarkOf {
            award,
            lease,
            mark,
            error: None,
        };
        only(ok(self
            .store()
            .mark_published(vec![mark], self.now())
            .await))
    }

    /// The broker took the award's message, at `offset` of partition 0.
    pub(in crate::conformance) async fn taken(&self, won: &Won, offset: i64) {
        let lease = self.row(won).await.lease;
        let position = Position {
            epoch: EPOCH,
            partition: 0,
            offset,
        };
        let written = self.mark(won.award, lease, Mark::Taken(position)).await;
        assert_eq!(written, Written::Applied);
    }

    pub(in crate::conformance) async fn record_with(
        &self,
        award: AwardId,
        lease: i64,
        decision: Decision,
        lane_at: Timestamp,
    ) -> Recorded {
        let record = Record {
            award,
            lease,
            decision,
            error: None,
            lane_at,
            jitter: Jitter::NONE,
        };
        only(ok(self.store().record(vec![record], self.now()).await))
    }

    /// Records what came of a call.
    pub(in crate::conformance) async fn record(
        &self,
        claim: &Claim,
        decision: Decision,
    ) -> Recorded {
        self.record_with(claim.award, claim.lease, decision, self.now())
            .await
    }

    /// Records it, and it takes effect.
    pub(in crate::conformance) async fn decide(&self, claim: &Claim, decision: Decision) -> Row {
        let recorded = self.record(claim, decision).await;
        assert_eq!(recorded.written, Written::Applied);
        let row = self.row_of(claim.award).await;
        assert_eq!(recorded.row, row, "the answer shows the row as it stands");
        row
    }

    pub(in crate::conformance) async fn give_back(&self, award: AwardId, lease: i64) -> Written {
        only(ok(self
            .store()
            .give_back(vec![(award, lease)], self.now())
            .await))
    }

    pub(in crate::conformance) async fn act(&self, won: &Won, action: Action) -> Acted {
        ok(self
            .store()
            .act(won.award, action, actor(), self.now())
            .await)
    }

    /// Acts, and it is done.
    pub(in crate::conformance) async fn done(&self, won: &Won, action: Action) -> Row {
        let acted = self.act(won, action).await;
        let Acted::Done(row) = acted else {
            panic!("not done: {acted:?}")
        };
        assert_eq!(
            row,
            self.row(won).await,
            "the answer shows the row as it stands"
        );
        row
    }

    /// What rescue asks now of a lane when the group has read everything.
    pub(in crate::conformance) fn due(&self, lane: i64) -> DueQuery {
        DueQuery {
            lane,
            after: None,
            limit: 100,
            now: self.now(),
            group: Some(GroupPosition {
                epoch: EPOCH,
                partitions: Vec::new(),
            }),
            is_breaker_open: false,
        }
    }

    pub(in crate::conformance) async fn rescue_with(&self, query: DueQuery) -> DuePage {
        ok(self.store().claim_due(query).await)
    }

    /// One step of rescue in the award's lane.
    pub(in crate::conformance) async fn rescue(&self, won: &Won) -> DuePage {
        let lane = self.row(won).await.lane;
        self.rescue_with(self.due(lane)).await
    }

    /// Waits until the row is due and lets rescue look.
    pub(in crate::conformance) async fn rescue_when_due(&self, won: &Won) -> DuePage {
        self.move_to_due(won).await;
        self.rescue(won).await
    }

    pub(in crate::conformance) async fn move_to_due(&self, won: &Won) {
        let due = self.row(won).await.due_at;
        self.move_to(due.unwrap_or_else(|| panic!("a final row is never due")));
    }
}
