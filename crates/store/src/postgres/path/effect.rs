//! The effects that we keep ourselves: a code, a credit, the next step of a prize
//! that waits. Each is written by the transaction that records the delivery, so it
//! happens once.

use super::super::error::inconsistent;
use super::columns::Stored;
use super::facts::Need;
use super::hand::Turn;
use tombola_core::campaign::{Kind, KindSpec};
use tombola_core::decision::Decision;
use tombola_core::ports::StoreResult;
use tombola_core::reason::HoldReason;

/// What came of an award, and what is to be written for it.
pub(super) struct Effect {
    pub(super) decision: Decision,
    pub(super) made: Made,
}

/// What an award is given.
pub(super) enum Made {
    Nothing,
    Code(i64),
    Points { user: String, points: i64 },
}

impl Made {
    /// Takes it into what is written with the award's row.
    pub(super) fn stage(self, turn: &mut Turn<'_>, stored: &Stored) {
        let award = stored.row.award;
        match self {
            Self::Nothing => {}
            Self::Code(code) => turn.staged.bind(stored.prize_id, code, award),
            Self::Points { user, points } => turn.staged.credit(award, &user, points),
        }
    }
}

/// What must be known of a row before [`of`] is asked.
pub(super) fn need(stored: &Stored, need: &mut Need) {
    if stored.row.is_outside() {
        return;
    }
    match stored.row.kind {
        Kind::Text => {}
        Kind::Physical => {
            need.terms(stored);
            need.address(stored);
        }
        Kind::Code | Kind::Points | Kind::External | Kind::Webhook => need.terms(stored),
    }
}

/// What the kind asks for.
pub(super) fn of(turn: &Turn<'_>, stored: &Stored) -> StoreResult<Effect> {
    let delivered = |made| Effect {
        decision: Decision::Delivered { receipt: None },
        made,
    };
    let held = |reason| Effect {
        decision: Decision::Hold(reason),
        made: Made::Nothing,
    };
    Ok(match stored.row.kind {
        Kind::Text => delivered(Made::Nothing),
        Kind::Points => delivered(credit(turn, stored)?),
        Kind::Code => {
            let bound = turn.staged.bound(stored.prize_id);
            let code = turn.hand.codes.next(stored.prize_id, bound)?;
            code.map_or_else(
                || held(HoldReason::NoCode),
                |code| delivered(Made::Code(code)),
            )
        }
        Kind::Physical if turn.hand.known.has_address(stored.row.award) => {
            held(HoldReason::Shipment)
        }
        Kind::Physical => held(HoldReason::Address),
        Kind::External => held(HoldReason::External),
        Kind::Webhook => return Err(inconsistent("an award of kind webhook without a lane")),
    })
}

fn credit(turn: &Turn<'_>, stored: &Stored) -> StoreResult<Made> {
    let award = stored.row.award;
    let facts = turn.hand.known.facts(award)?;
    let KindSpec::Points { points } = facts.prize().spec else {
        return Err(inconsistent(format!(
            "the rules of award {award} give no points"
        )));
    };
    Ok(Made::Points {
        user: facts.user.clone(),
        points: points.into(),
    })
}
