//! One member whose own row fails never stops the others. All are written together;
//! only where that fails by an error of a row are they halved, and the halves again,
//! until the member is found and answered alone. Each part is written behind a
//! savepoint; the locks stay.

use super::super::session::Work;
use super::hand::{Hand, Turn};
use super::staged::UNDO;
use tombola_core::ports::{StoreError, StoreResult};

/// What a method does with one member, in memory.
pub(super) trait Method: Sync {
    type Member: Sync;
    type Answer: Send;

    /// Decides one member. It changes nothing if it fails.
    fn one(&self, turn: &mut Turn<'_>, member: &Self::Member) -> StoreResult<Self::Answer>;

    /// Answers for a member that failed by an error of its own, and counts it.
    fn failed(
        &self,
        turn: &mut Turn<'_>,
        member: &Self::Member,
        error: &StoreError,
    ) -> StoreResult<Self::Answer>;

    /// Answers for a member of which even that could not be written: its row keeps its
    /// date, and rescue comes to it.
    fn unwritten(
        &self,
        hand: &Hand<'_>,
        member: &Self::Member,
        error: &StoreError,
    ) -> StoreResult<Self::Answer>;
}

/// Whether an error is of the member that was being written, so that the others
/// may go on without it.
const fn is_own(error: &StoreError) -> bool {
    match error {
        StoreError::Row(_) | StoreError::Inconsistent(_) | StoreError::Sealed(_) => true,
        StoreError::Unavailable(_)
        | StoreError::Overloaded
        | StoreError::Schema(_)
        | StoreError::KeyReused
        | StoreError::Closed => false,
    }
}

/// One answer for each member, in order.
pub(super) async fn each<M: Method>(
    work: &Work<'_>,
    hand: &mut Hand<'_>,
    method: &M,
    members: &[M::Member],
) -> StoreResult<Vec<M::Answer>> {
    let mut answers = Vec::with_capacity(members.len());
    let mut parts = vec![members];
    while let Some(part) = parts.pop() {
        match together(work, hand, method, part).await {
            Ok(done) => answers.extend(done),
            Err(error) if is_own(&error) => {
                work.run(UNDO).await?;
                if let [member] = part {
                    answers.push(alone(work, hand, method, (member, &error)).await?);
                } else {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(answers)
}

/// Decides and writes these members. An error that comes up in memory is of one
/// member and is answered there; one that the database finds is of any of them.
async fn together<M: Method>(
    work: &Work<'_>,
    hand: &mut Hand<'_>,
    method: &M,
    members: &[M::Member],
) -> StoreResult<Vec<M::Answer>> {
    let mut turn = Turn::new(hand);
    let mut answers = Vec::with_capacity(members.len());
    for member in members {
        answers.push(match method.one(&mut turn, member) {
            Err(error) if is_own(&error) => match method.failed(&mut turn, member, &error) {
                Err(second) if is_own(&second) => method.unwritten(hand, member, &second),
                answer => answer,
            },
            answer => answer,
        }?);
    }
    let staged = turn.staged;
    staged.write(work, &hand.locked, hand.now).await?;
    hand.settle(staged);
    Ok(answers)
}

/// Counts the failure of one member.
async fn alone<M: Method>(
    work: &Work<'_>,
    hand: &mut Hand<'_>,
    method: &M,
    (member, error): (&M::Member, &StoreError),
) -> StoreResult<M::Answer> {
    let mut turn = Turn::new(hand);
    let answer = match method.failed(&mut turn, member, error) {
        Err(second) if is_own(&second) => return method.unwritten(hand, member, &second),
        answer => answer?,
    };
    let staged = turn.staged;
    match staged.write(work, &hand.locked, hand.now).await {
        Ok(()) => {
            hand.settle(staged);
            Ok(answer)
        }
        Err(second) if is_own(&second) => {
            work.run(UNDO).await?;
            method.unwritten(hand, member, &second)
        }
        Err(second) => Err(second),
    }
}
