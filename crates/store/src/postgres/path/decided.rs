//! A batch's requests one after the other, each asked of the pure
//! [`decide`] against what the ones before it left.
//! Nothing here touches the database.

use super::keys::{Key, key_of};
use std::collections::HashMap;
use tombola_core::draw::{BatchState, Decided, DrawRefusal, DrawRequest, NewDraw, decide};
use tombola_core::retry::Schedule;

/// What became of one request.
pub(super) enum Fate {
    Drawn(Vec<NewDraw>),
    /// It repeats the request at this place, which drew.
    Repeats(usize),
    Refused(DrawRefusal),
}

/// Decides requests whose keys nobody had before this batch. They are asked one by
/// one, because two of them may have one key: the second repeats the first if that
/// one drew, and is a request like any other if it was refused.
pub(super) fn decide_each(
    requests: &[&DrawRequest],
    mut state: BatchState,
    schedule: &Schedule,
    has_relay: bool,
) -> Vec<Fate> {
    let mut first: HashMap<Key<'_>, usize> = HashMap::with_capacity(requests.len());
    let mut fates = Vec::with_capacity(requests.len());
    for (place, request) in requests.iter().enumerate() {
        if let Some(earlier) = first.get(&key_of(request)) {
            let is_same = requests[*earlier].fingerprint == request.fingerprint;
            fates.push(if is_same {
                Fate::Repeats(*earlier)
            } else {
                Fate::Refused(DrawRefusal::RequestKeyReused)
            });
            continue;
        }
        let decision = decide(state, std::slice::from_ref(*request), schedule, has_relay);
        state = decision.after;
        fates.extend(decision.answers.into_iter().map(|answer| match answer {
            Decided::Drawn(draws) => {
                first.insert(key_of(request), place);
                Fate::Drawn(draws)
            }
            Decided::Refused(refusal) => Fate::Refused(refusal),
        }));
    }
    fates
}
