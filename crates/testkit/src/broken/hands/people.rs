//! Slips at the ports of operators and of what stands still.

use super::{Hands, Omitted, SOUND, Slips};
use std::time::Duration;
use tombola_core::Timestamp;
use tombola_core::campaign::Approval;
use tombola_core::endpoint::EndpointSpec;
use tombola_core::ports::{
    Actor, ApiKey, BulkAction, BulkFilter, BulkSpec, ImportFinished, KeptRequest, NewSecret,
    Operation, OperationState, PauseScope, RequestKey, Resealed,
};

fn with_word(mut spec: BulkSpec, word: bool) -> BulkSpec {
    if let BulkAction::Requeue { not_delivered, .. } = &mut spec.action {
        *not_delivered = word;
    }
    spec
}

fn with_request(mut by: Actor, change: fn(&mut RequestKey)) -> Actor {
    if let Some(request) = &mut by.request {
        change(request);
    }
    by
}

pub(super) const ALL: Slips = &[
    (
        "cleanup overlooks how old a row is",
        Hands {
            cleanup: |_| Timestamp(i64::MAX),
            ..SOUND
        },
    ),
    (
        "a bulk action takes all",
        Hands {
            bulk: |it| BulkSpec {
                filter: BulkFilter::default(),
                ..it
            },
            ..SOUND
        },
    ),
    (
        "a bulk requeue always has the word",
        Hands {
            bulk: |it| with_word(it, true),
            ..SOUND
        },
    ),
    (
        "a bulk requeue never has the word",
        Hands {
            bulk: |it| with_word(it, false),
            ..SOUND
        },
    ),
    (
        "a bulk requeue is not spread over time",
        Hands {
            bulk: |mut it| {
                if let BulkAction::Requeue { over_secs, .. } = &mut it.action {
                    *over_secs = 0;
                }
                it
            },
            ..SOUND
        },
    ),
    (
        "a bulk cancel never gives units back",
        Hands {
            bulk: |mut it| {
                if let BulkAction::Cancel { return_stock } = &mut it.action {
                    *return_stock = false;
                }
                it
            },
            ..SOUND
        },
    ),
    (
        "a bulk action says too early that it is done",
        Hands {
            stepped: |it| Operation {
                state: OperationState::Done,
                ..it
            },
            ..SOUND
        },
    ),
    (
        "a bulk action counts one too many",
        Hands {
            stepped: |it| Operation {
                done: it.done + 1,
                ..it
            },
            ..SOUND
        },
    ),
    (
        "a bulk action is not stopped",
        Hands {
            omits: Some(Omitted::CancelOperation),
            ..SOUND
        },
    ),
    (
        "a bulk action that was begun is forgotten",
        Hands {
            running: |_| Vec::new(),
            ..SOUND
        },
    ),
    (
        "a user is not blocked",
        Hands {
            omits: Some(Omitted::BlockUser),
            ..SOUND
        },
    ),
    (
        "points are not taken back",
        Hands {
            omits: Some(Omitted::ReversePoints),
            ..SOUND
        },
    ),
    (
        "whatever is dismissed was there",
        Hands {
            dismissed: |_| true,
            ..SOUND
        },
    ),
    (
        "codes are not withdrawn",
        Hands {
            omits: Some(Omitted::WithdrawImport),
            ..SOUND
        },
    ),
    (
        "a pause of one campaign pauses all",
        Hands {
            scope: |it| PauseScope {
                campaign: None,
                ..it
            },
            ..SOUND
        },
    ),
    (
        "a pause of one prize pauses its campaign",
        Hands {
            scope: |it| PauseScope { prize: None, ..it },
            ..SOUND
        },
    ),
    (
        "a pause of one endpoint pauses all",
        Hands {
            scope: |it| PauseScope {
                endpoint: None,
                ..it
            },
            ..SOUND
        },
    ),
    (
        "a resume says that it resumed what was not paused",
        Hands {
            resumed: |_| true,
            ..SOUND
        },
    ),
    (
        "the end of holds is never reached",
        Hands {
            ended: |it| it.max(1),
            ..SOUND
        },
    ),
    (
        "duplicates of codes are always skipped",
        Hands {
            skips_duplicates: |_| true,
            ..SOUND
        },
    ),
    (
        "duplicates of codes are never skipped",
        Hands {
            skips_duplicates: |_| false,
            ..SOUND
        },
    ),
    (
        "an import counts one too many",
        Hands {
            finished: |it| ImportFinished {
                codes: it.codes + 1,
                ..it
            },
            ..SOUND
        },
    ),
    (
        "stock that is withdrawn is added",
        Hands {
            units: i64::abs,
            ..SOUND
        },
    ),
    (
        "an endpoint says what it did not say",
        Hands {
            endpoint: |it| EndpointSpec {
                idempotent: true,
                ..it
            },
            ..SOUND
        },
    ),
    (
        "a new secret is overlooked",
        Hands {
            endpoint: |it| EndpointSpec { secret: None, ..it },
            ..SOUND
        },
    ),
    (
        "a secret signs for ever beside the one that took its place",
        Hands {
            secret: |it| NewSecret {
                overlap: Duration::MAX,
                ..it
            },
            ..SOUND
        },
    ),
    (
        "another secret is told than the one that signs",
        Hands {
            secret: |it| NewSecret {
                hash: [0; 32],
                ..it
            },
            ..SOUND
        },
    ),
    (
        "a secret that has ended is kept",
        Hands {
            ends: |_| Timestamp(0),
            ..SOUND
        },
    ),
    (
        "an endpoint cannot be disabled",
        Hands {
            enabled: |_| true,
            ..SOUND
        },
    ),
    (
        "sealing anew never ends",
        Hands {
            resealed: |it| Resealed {
                is_done: false,
                ..it
            },
            ..SOUND
        },
    ),
    (
        "a key never ends",
        Hands {
            key: |it| ApiKey {
                expires_at: None,
                ..it
            },
            ..SOUND
        },
    ),
    (
        "a key is for all campaigns",
        Hands {
            key: |it| ApiKey {
                campaigns: Vec::new(),
                ..it
            },
            ..SOUND
        },
    ),
    (
        "a request key is not kept",
        Hands {
            by: |it| Actor {
                request: None,
                ..it
            },
            ..SOUND
        },
    ),
    (
        "a request key stands for whatever comes under it",
        Hands {
            by: |it| with_request(it, |request| request.fingerprint = [0; 32]),
            ..SOUND
        },
    ),
    (
        "a request key belongs to all clients",
        Hands {
            by: |it| with_request(it, |request| request.client.clear()),
            ..SOUND
        },
    ),
    (
        "a request key belongs to all operations",
        Hands {
            by: |it| with_request(it, |request| request.operation.clear()),
            ..SOUND
        },
    ),
    (
        "an answer that was kept is lost",
        Hands {
            kept_request: |it| KeptRequest { answer: None, ..it },
            ..SOUND
        },
    ),
    (
        "the last answer stands",
        Hands {
            stands: |_, now| now,
            ..SOUND
        },
    ),
    (
        "whoever submitted may approve",
        Hands {
            approval: |_| Approval::Anybody,
            ..SOUND
        },
    ),
    (
        "a revoked key goes on",
        Hands {
            omits: Some(Omitted::RevokeKey),
            ..SOUND
        },
    ),
];
