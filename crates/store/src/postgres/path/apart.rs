//! One member whose own row fails never stops the others. All are written together;
//! only where that fails by an error of a row are they halved, and the halves again,
//! until the member is found and answered alone. Each part is written behind a
//! savepoint; the locks stay.

use super::super::session::Work;
use super::hand::{Hand, Turn};
use super::staged::{Staged, UNDO};
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
        | StoreError::Moved(_)
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
        let (staged, done) = decide(hand, method, part)?;
        match staged.write(work, &hand.locked, hand.now).await {
            Ok(()) => {
                hand.settle(staged);
                answers.extend(done);
            }
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

/// Decides these members in memory. An error that comes up here is of one member and
/// answered at once; one that the database finds in what is written is of any of them.
fn decide<M: Method>(
    hand: &Hand<'_>,
    method: &M,
    members: &[M::Member],
) -> StoreResult<(Staged, Vec<M::Answer>)> {
    let mut turn = Turn::new(hand);
    let mut answers = Vec::with_capacity(members.len());
    for member in members {
        answers.push(match method.one(&mut turn, member) {
            Err(error) if is_own(&error) => failed(&mut turn, method, member, &error)?,
            answer => answer?,
        });
    }
    Ok((turn.staged, answers))
}

fn failed<M: Method>(
    turn: &mut Turn<'_>,
    method: &M,
    member: &M::Member,
    error: &StoreError,
) -> StoreResult<M::Answer> {
    match method.failed(turn, member, error) {
        Err(second) if is_own(&second) => method.unwritten(turn.hand, member, &second),
        answer => answer,
    }
}

/// Counts the failure of one member.
async fn alone<M: Method>(
    work: &Work<'_>,
    hand: &mut Hand<'_>,
    method: &M,
    (member, error): (&M::Member, &StoreError),
) -> StoreResult<M::Answer> {
    let mut turn = Turn::new(hand);
    let answer = failed(&mut turn, method, member, error)?;
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
