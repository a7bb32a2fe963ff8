//! A batch's requests one after the other, each asked of the pure
//! [`decide`] against what the ones before it left.
//! Nothing here touches the database.

use super::keys::{Kept, Key, key_of};
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

/// The keys that the outcome changes: claimed for a request that drew nothing, and
/// drawn by another request than the one that claimed it.
pub(super) struct Corrections<'a> {
    pub(super) free: Vec<Key<'a>>,
    pub(super) insert: Vec<&'a DrawRequest>,
}

pub(super) fn corrections<'a>(
    claimed: &HashMap<Key<'a>, &'a DrawRequest>,
    requests: &[&'a DrawRequest],
    fates: &[Fate],
) -> Corrections<'a> {
    let drawn: HashMap<Key<'a>, &'a DrawRequest> = requests
        .iter()
        .zip(fates)
        .filter(|(_, fate)| matches!(fate, Fate::Drawn(_)))
        .map(|(request, _)| (key_of(request), *request))
        .collect();
    let is_right = |key: &Key<'a>, request: &'a DrawRequest| {
        let id = |it: &DrawRequest| Kept::of(it).draws;
        drawn.get(key).is_some_and(|it| id(it) == id(request))
    };
    let free: Vec<Key<'a>> = claimed
        .iter()
        .filter(|(key, request)| !is_right(key, request))
        .map(|(key, _)| *key)
        .collect();
    let insert = free.iter().filter_map(|key| drawn.get(key).copied());
    Corrections {
        insert: insert.collect(),
        free,
    }
}
