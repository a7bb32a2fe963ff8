//! What is always true of rows, checked whenever a case looks at one.

use tombola_core::award::{MqState, Row, State};

/// What is true of every row at every instant.
pub(super) fn is_whole(row: &Row) {
    assert_eq!(
        row.due_at.is_none(),
        row.state.is_final(),
        "due_at is null in the final states: {row:?}"
    );
    assert_eq!(
        row.hold_reason.is_some(),
        row.state == State::Held,
        "{row:?}"
    );
    assert_eq!(row.held_at.is_some(), row.state == State::Held, "{row:?}");
    assert_eq!(
        row.dead_reason.is_some(),
        row.state == State::Dead,
        "{row:?}"
    );
    assert!(row.lease >= 1, "{row:?}");
}

/// What is true of every two rows of one award, the one seen after the other.
pub(super) fn follows(before: &Row, row: &Row) {
    let context = format!("{before:?} became {row:?}");
    assert!(row.lease >= before.lease, "a lease never falls: {context}");
    assert!(
        row.state == before.state || row.lease > before.lease,
        "a lease grows with each change of state: {context}"
    );
    assert!(
        row.in_doubt || !before.in_doubt,
        "nothing clears a doubt: {context}"
    );
    assert!(
        before.mq_state != MqState::Sent || row.mq_state == MqState::Sent,
        "what was sent stays sent: {context}"
    );
    let is_over = matches!(before.state, State::Delivered | State::Cancelled);
    assert!(
        !is_over || before == row,
        "what is over stays as it is: {context}"
    );
}
