//! Slips at the ports that move an award.

use super::{Hands, Omitted, SOUND, Slips};
use tombola_core::adoption::Adoption;
use tombola_core::award::Position;
use tombola_core::draw::DrawRequest;
use tombola_core::ids::IdBlock;
use tombola_core::ports::{
    AdoptAnswer, Copy, DrawAnswer, DrawBatch, DueLanes, DuePage, DueQuery, GroupPosition,
    KeptMessage,
};
use tombola_core::reason::KeptReason;

fn reversed<T>(mut all: Vec<T>) -> Vec<T> {
    all.reverse();
    all
}

fn each_request(mut batch: DrawBatch, edit: fn(&mut DrawRequest)) -> DrawBatch {
    for request in &mut batch.requests {
        edit(request);
    }
    batch
}

fn each_adoption(mut all: Vec<Adoption>, edit: fn(&mut Adoption)) -> Vec<Adoption> {
    for adoption in &mut all {
        edit(adoption);
    }
    all
}

fn each_position(mut all: Vec<KeptMessage>, edit: fn(&mut Position)) -> Vec<KeptMessage> {
    for message in &mut all {
        edit(&mut message.position);
    }
    all
}

pub(super) const ALL: Slips = &[
    (
        "ids overlap",
        Hands {
            ids: |it| IdBlock {
                end: it.end + 1,
                ..it
            },
            ..SOUND
        },
    ),
    (
        "an order is adopted each time it comes",
        Hands {
            adoptions: |it| each_adoption(it, |one| one.order = one.ticket.id.0),
            ..SOUND
        },
    ),
    (
        "all sources share their orders",
        Hands {
            adoptions: |it| each_adoption(it, |one| one.source = "all".into()),
            ..SOUND
        },
    ),
    (
        "what is adopted is another user's",
        Hands {
            adoptions: |it| each_adoption(it, |one| one.user = "eve".into()),
            ..SOUND
        },
    ),
    (
        "no kind is looked at where something is adopted",
        Hands {
            adoptions: |it| each_adoption(it, |one| one.award_type = None),
            ..SOUND
        },
    ),
    (
        "what was adopted before is refused",
        Hands {
            adopted: |it| {
                let refused = |one| match one {
                    AdoptAnswer::Known => AdoptAnswer::Refused(KeptReason::NotAdoptable),
                    AdoptAnswer::Adopted(_) | AdoptAnswer::Refused(_) => one,
                };
                it.into_iter().map(refused).collect()
            },
            ..SOUND
        },
    ),
    (
        "what is adopted has no message",
        Hands {
            adopted: |it| {
                let without = |one| match one {
                    AdoptAnswer::Adopted(_) => AdoptAnswer::Adopted(None),
                    AdoptAnswer::Known | AdoptAnswer::Refused(_) => one,
                };
                it.into_iter().map(without).collect()
            },
            ..SOUND
        },
    ),
    (
        "a key stands for whatever is asked under it",
        Hands {
            draws: |it| each_request(it, |request| request.fingerprint = [9; 16]),
            ..SOUND
        },
    ),
    (
        "all clients share their keys",
        Hands {
            draws: |it| each_request(it, |request| request.client = "all".into()),
            ..SOUND
        },
    ),
    (
        "a key draws anew each time",
        Hands {
            draws: |it| {
                each_request(it, |request| {
                    request.key = format!("{}-{}", request.key, request.tickets[0].id).into();
                })
            },
            ..SOUND
        },
    ),
    (
        "a batch is taken from its end",
        Hands {
            draws: |it| DrawBatch {
                requests: reversed(it.requests),
                ..it
            },
            drawn: reversed,
            ..SOUND
        },
    ),
    (
        "answers of draws come in any order",
        Hands {
            drawn: reversed,
            ..SOUND
        },
    ),
    (
        "hand-offs are forgotten",
        Hands {
            drawn: |mut answers| {
                for answer in &mut answers {
                    if let DrawAnswer::Drawn { handoffs, .. } = answer {
                        handoffs.clear();
                    }
                }
                answers
            },
            ..SOUND
        },
    ),
    (
        "a replay says that it is new",
        Hands {
            drawn: |answers| {
                let new = |answer| match answer {
                    DrawAnswer::Replayed { draws } => DrawAnswer::Drawn {
                        draws,
                        handoffs: vec![],
                    },
                    DrawAnswer::Drawn { .. } | DrawAnswer::Refused(_) => answer,
                };
                answers.into_iter().map(new).collect()
            },
            ..SOUND
        },
    ),
    (
        "a request for many draws once",
        Hands {
            draws: |it| each_request(it, |request| request.tickets.truncate(1)),
            ..SOUND
        },
    ),
    (
        "answers of marks come in any order",
        Hands {
            written: reversed,
            ..SOUND
        },
    ),
    (
        "answers of copies come in any order",
        Hands {
            copied: reversed,
            ..SOUND
        },
    ),
    (
        "answers of records come in any order",
        Hands {
            recorded: reversed,
            ..SOUND
        },
    ),
    (
        "the first of a batch of copies is all that is taken",
        Hands {
            copies: |_, it| it.into_iter().take(1).collect(),
            ..SOUND
        },
    ),
    (
        "a copy of another message is taken",
        Hands {
            copies: |model, copies| {
                let ours = |copy: Copy| Copy {
                    message_id: model.message_id(copy.award).unwrap_or_default(),
                    ..copy
                };
                copies.into_iter().map(ours).collect()
            },
            ..SOUND
        },
    ),
    (
        "all copies lie in one place",
        Hands {
            copies: |_, copies| {
                let position = Position {
                    epoch: 0,
                    partition: 0,
                    offset: 0,
                };
                copies
                    .into_iter()
                    .map(|copy| Copy { position, ..copy })
                    .collect()
            },
            ..SOUND
        },
    ),
    (
        "rescue always begins at the beginning",
        Hands {
            due: |it| DueQuery { after: None, ..it },
            ..SOUND
        },
    ),
    (
        "rescue reads all there is",
        Hands {
            due: |it| DueQuery {
                limit: usize::MAX,
                ..it
            },
            ..SOUND
        },
    ),
    (
        "rescue overlooks that the breaker is open",
        Hands {
            due: |it| DueQuery {
                is_breaker_open: false,
                ..it
            },
            ..SOUND
        },
    ),
    (
        "rescue takes a group that nobody knows for one at its end",
        Hands {
            due: |it| DueQuery {
                group: it.group.or(Some(GroupPosition::default())),
                ..it
            },
            ..SOUND
        },
    ),
    (
        "rescue never knows how far the group is",
        Hands {
            due: |it| DueQuery { group: None, ..it },
            ..SOUND
        },
    ),
    (
        "rescue never goes on",
        Hands {
            page: |it| DuePage { next: None, ..it },
            ..SOUND
        },
    ),
    (
        "rescue publishes in the order of dates",
        Hands {
            page: |mut it| {
                it.handoffs.sort_by_key(|handoff| handoff.award);
                it
            },
            ..SOUND
        },
    ),
    (
        "rescue forgets what it took",
        Hands {
            page: |it| DuePage {
                handoffs: vec![],
                ..it
            },
            ..SOUND
        },
    ),
    (
        "rescue does not say what ended",
        Hands {
            page: |it| DuePage {
                ended: vec![],
                ..it
            },
            ..SOUND
        },
    ),
    (
        "rescue does not say what it changed",
        Hands {
            page: |it| DuePage {
                rescued: vec![],
                ..it
            },
            ..SOUND
        },
    ),
    (
        "rescue does not say whom to tell",
        Hands {
            page: |it| DuePage {
                alerts: vec![],
                ..it
            },
            ..SOUND
        },
    ),
    (
        "lanes that are due are not named",
        Hands {
            lanes: |it| DueLanes { due: vec![], ..it },
            ..SOUND
        },
    ),
    (
        "the next date is not named",
        Hands {
            lanes: |it| DueLanes { next: None, ..it },
            ..SOUND
        },
    ),
    (
        "a message is kept once whatever the life of the topic",
        Hands {
            kept: |it| each_position(it, |at| at.epoch = 0),
            ..SOUND
        },
    ),
    (
        "a message is kept once whatever its partition",
        Hands {
            kept: |it| each_position(it, |at| at.partition = 0),
            ..SOUND
        },
    ),
    (
        "only the last message of a batch is kept",
        Hands {
            kept: |it| it.into_iter().next_back().into_iter().collect(),
            ..SOUND
        },
    ),
    (
        "start-up waits for all graces",
        Hands {
            omits: Some(Omitted::BeginAlone),
            ..SOUND
        },
    ),
];
