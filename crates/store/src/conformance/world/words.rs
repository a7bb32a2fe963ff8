//! The words of a case: prizes, endpoints, requests, awards, spans and rolls.

use std::time::Duration;
use tombola_core::campaign::odds::Roll;
use tombola_core::draw::{DrawFact, NewDraw, Ticket};
use tombola_core::ports::{Actor, Handoff, StoreResult};
use tombola_core::{AwardId, DrawId};

/// An award as its draw left it.
pub(in crate::conformance) struct Won {
    pub(in crate::conformance) award: AwardId,
    pub(in crate::conformance) campaign: String,
    pub(in crate::conformance) user: String,
    pub(in crate::conformance) message_id: String,
    pub(in crate::conformance) delivery_key: String,
    pub(in crate::conformance) handoff: Option<Handoff>,
}

impl Won {
    /// The award of a draw of `World::draw`.
    pub(in crate::conformance) fn of(draw: &DrawFact) -> Self {
        let ticket = ticket(draw.id, Roll(0));
        let named = NewDraw {
            ticket,
            unavailable: None,
            prize: None,
            award: None,
        };
        Self {
            award: draw.id.award(),
            campaign: draw.campaign.to_string(),
            user: draw.user.to_string(),
            message_id: named.message_id(),
            delivery_key: named.delivery_key(),
            handoff: None,
        }
    }
}

/// The tails of a world's tickets follow from their ids.
pub(super) fn ticket(id: DrawId, roll: Roll) -> Ticket {
    let tail = id.0.cast_unsigned();
    Ticket {
        id,
        roll,
        message_tail: tail * 7 + 1,
        delivery_tail: tail * 11 + 3,
    }
}

/// A request for draws, as a case words it.
#[derive(Clone)]
pub(in crate::conformance) struct Ask {
    pub(in crate::conformance) user: String,
    pub(in crate::conformance) client: String,
    pub(in crate::conformance) key: String,
    pub(in crate::conformance) fingerprint: [u8; 16],
    pub(in crate::conformance) rolls: Vec<Roll>,
}

/// The lines of a prize of each kind, and of endpoints with and without a
/// memory for delivery keys.
pub(in crate::conformance) const TEXT: &str = "kind = \"text\"\ntext = \"hello\"\n";
pub(in crate::conformance) const POINTS: &str = "kind = \"points\"\npoints = 7\n";
pub(in crate::conformance) const CODE: &str = "kind = \"code\"\n";
pub(in crate::conformance) const KEEN: &str = "kind = \"webhook\"\nendpoint = \"keen\"\n";
pub(in crate::conformance) const BLUNT: &str = "kind = \"webhook\"\nendpoint = \"blunt\"\n";
pub(in crate::conformance) const PHYSICAL: &str =
    "kind = \"physical\"\nclaim_within = \"14d\"\nship_within = \"30d\"\n";
pub(in crate::conformance) const EXTERNAL: &str = "kind = \"external\"\nconfirm_within = \"7d\"\n";

/// The slug of the prize of `World::win`.
pub(in crate::conformance) const PRIZE: &str = "it";

/// The epoch of every copy, unless a case says otherwise.
pub(in crate::conformance) const EPOCH: i64 = 1;

/// What a store must not fail at.
pub(in crate::conformance) fn ok<T>(answer: StoreResult<T>) -> T {
    answer.unwrap_or_else(|error| panic!("the store failed: {error}"))
}

/// The only member of an answer.
pub(in crate::conformance) fn only<T>(mut answers: Vec<T>) -> T {
    assert_eq!(answers.len(), 1, "one answer for each member");
    answers.remove(0)
}

pub(in crate::conformance) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(in crate::conformance) const fn days(days: u64) -> Duration {
    Duration::from_hours(days * 24)
}

/// A roll in the middle of position `at` of a whole of `total`.
pub(in crate::conformance) fn roll_at(at: u64, total: u64) -> Roll {
    let roll = ((u128::from(at) << 64) + (1 << 63)) / u128::from(total);
    Roll(u64::try_from(roll).unwrap_or(u64::MAX))
}

pub(in crate::conformance) fn actor() -> Actor {
    Actor {
        name: "ada".to_owned(),
        reason: Some("because".to_owned()),
        request: None,
    }
}

impl Ask {
    /// One draw by `user` with the lowest roll, under `key`.
    pub(in crate::conformance) fn new(user: &str, key: &str) -> Self {
        Self {
            user: user.to_owned(),
            client: "shop".to_owned(),
            key: key.to_owned(),
            fingerprint: [1; 16],
            rolls: vec![Roll(0)],
        }
    }

    pub(in crate::conformance) fn rolls(self, rolls: &[Roll]) -> Self {
        Self {
            rolls: rolls.to_vec(),
            ..self
        }
    }

    pub(in crate::conformance) fn times(self, count: usize) -> Self {
        Self {
            rolls: vec![Roll(0); count],
            ..self
        }
    }
}

/// A campaign file with one prize, whose chance is 100 %.
pub(in crate::conformance) fn one_prize(slug: &str, lines: &str) -> String {
    format!(
        "[campaign]\nslug = \"{slug}\"\nname = \"Fair\"\n\n[[prize]]\nslug = \"{PRIZE}\"\nname = \"It\"\nweight = 1\n{lines}"
    )
}
