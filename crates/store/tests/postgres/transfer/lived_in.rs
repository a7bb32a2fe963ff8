//! A database on SQLite in which something of everything has happened, and much is still
//! on its way.

use crate::both::EVERYTHING;
use crate::server::Database;
use crate::world::NOON;
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;
use tombola_core::award::{Mark, Position};
use tombola_core::campaign::odds::Roll;
use tombola_core::campaign::{Approval, Transition, parse_toml};
use tombola_core::decision::Decision;
use tombola_core::draw::{DrawRequest, Ticket};
use tombola_core::endpoint::EndpointSpec;
use tombola_core::ports::{
    Acted, Action, Actor, Address, AwardPath as _, Catalog as _, Copy, CopyAnswer, DeadLetter,
    DrawBatch, ImportBegun, MarkOf, Operate as _, Record, StoreError,
};
use tombola_core::retry::{Jitter, Schedule};
use tombola_core::{AwardId, Timestamp};
use tombola_store::transfer::{
    self, CHUNK_ROWS_MAX, Progress, TransferError, TransferOptions, Transferred,
};
use tombola_store::{SealKeys, Store, StoreOptions};

/// When the server is stopped, and when the transfer begins.
pub(super) const LATER: Timestamp = Timestamp(NOON.0 + 60_000_000);

/// What the shell of a test adds, so that no table is empty.
pub(super) const RARE: &str = "
    INSERT INTO erasing VALUES ('somebody', 'erased-1');
    INSERT INTO adopted SELECT client, 1662799798929063936, id FROM draw
      WHERE prize_id IS NOT NULL AND id IN (SELECT first_draw FROM request) ORDER BY id LIMIT 1;
    UPDATE request SET first_draw = first_draw + 1, more_draws = substr(more_draws, 9)
      WHERE first_draw IN (SELECT award_id FROM adopted);
    INSERT INTO blocked_user VALUES ('u13', 'because', 0);
    INSERT INTO pause VALUES ('fair', 'coupon', '', 5);
    INSERT INTO operation (spec, actor, state, after, created_at, updated_at)
      VALUES ('{\"action\":\"requeue\"}', 'ada', 'cancelled', 7, 1, 2);
    INSERT INTO kept_request (client, operation, request_key, fingerprint, effect, status, body, at, user)
      VALUES ('shop', 'POST /v1/x', 'key-12345', x'00ff', '{\"a\":\"\u{e9}\"}', 201, x'7b7d', 3, 'u1');
    INSERT INTO kept_message (topic_epoch, partition, \"offset\", message_key, value, headers, reason, at)
      VALUES (5, 1, 9, 'k', x'', '[]', 'unreadable', 4);
    INSERT INTO meta VALUES ('backup_taken_at', '12'), ('cleanup_after_award', '3');
    INSERT INTO attempt VALUES (1, 900, 12345, 'operator', 1, 'hold', 'held', NULL, 'a' || char(0) || 'b');
";

pub(super) fn keys() -> SealKeys {
    SealKeys::new("secret.key", BTreeMap::from([(1, [7; 32])]))
}

pub(super) fn store_options() -> StoreOptions {
    StoreOptions {
        seal_keys: Some(keys()),
        ..StoreOptions::default()
    }
}

pub(super) fn options(chunk_rows_max: usize) -> TransferOptions {
    TransferOptions {
        seal_keys: Some(keys()),
        schedule: Schedule::default(),
        now: LATER,
        chunk_rows_max,
    }
}

pub(super) fn by() -> Actor {
    Actor {
        reason: Some("because".to_owned()),
        ..Actor::named("ada")
    }
}

/// A directory with a database that was stopped in the middle of everything.
pub(super) struct Old {
    directory: TempDir,
}

impl Old {
    pub(super) async fn lived_in() -> Self {
        let old = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        let store = old.open().unwrap();
        furnish(&store).await;
        draw(&store).await;
        live(&store, &old.shell()).await;
        store.close();
        old.shell().execute_batch(RARE).unwrap();
        old
    }

    pub(super) fn path(&self) -> PathBuf {
        self.directory.path().join("tombola.db")
    }

    pub(super) fn open(&self) -> Result<Arc<Store>, StoreError> {
        Store::open(&self.path(), store_options())
    }

    pub(super) fn shell(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }

    pub(super) async fn move_to(&self, new: &Database) -> Result<Transferred, TransferError> {
        self.move_until(new, CHUNK_ROWS_MAX, |_| true).await
    }

    pub(super) async fn move_until(
        &self,
        new: &Database,
        rows: usize,
        mut goes_on: impl FnMut(Progress) -> bool + Send,
    ) -> Result<Transferred, TransferError> {
        transfer::run(&self.path(), &new.options(), options(rows), &mut goes_on).await
    }
}

pub(super) async fn furnish(store: &Store) {
    for (name, idempotent) in [("coupons", true), ("blunt", false)] {
        let spec = EndpointSpec {
            name: name.to_owned(),
            url: format!("https://{name}.example/awards"),
            secret: None,
            idempotent,
            conflict_means_delivered: false,
            timeout: "10s".to_owned(),
            concurrency: 16,
            rate: None,
            allow_private: false,
        };
        let secret = "whsec_bmV2ZXIgdG9sZA==".to_owned();
        store.put_endpoint(spec, secret, by(), NOON).await.unwrap();
    }
    let file = parse_toml("fair.toml", EVERYTHING).expect("a campaign file without problems");
    store.put_campaign(file, by(), NOON).await.unwrap();
    let begun = store
        .begin_import("fair", "code", by(), NOON)
        .await
        .unwrap();
    let ImportBegun::Begun(import) = begun else {
        panic!("{begun:?}")
    };
    let codes = (0..30).map(|n| format!("CODE-{n:04}")).collect();
    store.add_codes(import, codes, false).await.unwrap();
    store.finish_import(import, 0, by(), NOON).await.unwrap();
    for step in [Transition::Submit, Transition::Approve, Transition::Start] {
        let moved = store.transition("fair", step, Approval::Anybody, by(), NOON);
        moved.await.unwrap();
    }
    let key = tombola_core::ports::ApiKey {
        id: 0,
        client: "shop".to_owned(),
        role: tombola_core::ports::Role::Client,
        campaigns: vec!["fair".to_owned()],
        hash: [9; 32],
        created_at: NOON,
        expires_at: None,
        revoked_at: None,
    };
    store.put_key(key, by()).await.unwrap();
}

/// Three hundred draws by sixty users, with rolls all over the prizes.
pub(super) async fn draw(store: &Store) {
    let mut ids = store.reserve_ids(300).await.unwrap();
    let request = |user: u64| {
        let mut ticket = || {
            let id = ids.take().unwrap();
            let bits = id.0.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15);
            Ticket {
                id,
                roll: Roll(bits),
                message_tail: bits >> 4,
                delivery_tail: bits.rotate_left(32) >> 4,
            }
        };
        DrawRequest {
            client: "shop".into(),
            user: format!("u{user}").into(),
            key: format!("key-{user:06}").into(),
            fingerprint: [3; 16],
            tickets: (0..5).map(|_| ticket()).collect(),
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
            claim_key_version: 1,
        }
    };
    let batch = DrawBatch {
        campaign: "fair".into(),
        requests: (0..60).map(request).collect(),
        now: NOON,
        has_relay: true,
    };
    store.commit_draws(batch).await.unwrap();
}

/// An award as the shell sees it.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) award: AwardId,
    pub(super) prize: String,
    pub(super) lease: i64,
    pub(super) copy: Copy,
}

pub(super) fn seen(shell: &Connection) -> Vec<Seen> {
    let sql = "SELECT d.award_id, p.slug, d.lease, d.message_id FROM delivery d
               JOIN prize p ON p.id = d.prize_id ORDER BY 1";
    let mut rows = shell.prepare(sql).unwrap();
    let rows = rows.query_map([], |row| {
        let award = AwardId(row.get(0)?);
        Ok(Seen {
            award,
            prize: row.get(1)?,
            lease: row.get(2)?,
            copy: Copy {
                award,
                message_id: row.get(3)?,
                position: position(award),
            },
        })
    });
    rows.unwrap().map(Result::unwrap).collect()
}

pub(super) fn position(award: AwardId) -> Position {
    Position {
        epoch: 77,
        partition: 2,
        offset: award.0,
    }
}

/// Awards of every kind come into every state.
pub(super) async fn live(store: &Store, shell: &Connection) {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for it in seen(shell) {
        let count = counts.entry(it.prize.clone()).or_default();
        let n = *count;
        *count += 1;
        if n % 4 == 3 {
            continue; // nothing has happened to it yet
        }
        let mark = MarkOf {
            award: it.award,
            lease: it.lease,
            mark: Mark::Taken(position(it.award)),
            error: None,
        };
        store.mark_published(vec![mark], NOON).await.unwrap();
        if n % 4 == 2 && it.prize != "coupon" && it.prize != "voucher" {
            continue; // it is on the topic
        }
        match it.prize.as_str() {
            "coupon" | "voucher" => call(store, &it, n).await,
            "later" => {}
            _ => {
                store
                    .deliver_local(vec![it.copy.clone()], NOON)
                    .await
                    .unwrap();
            }
        }
        act(store, &it, n).await;
    }
    let dead: i64 = shell
        .query_row(
            "SELECT min(award_id) FROM delivery WHERE state = 'dead'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    let letter = DeadLetter::Award(AwardId(dead));
    assert!(store.dismiss(letter, by(), NOON).await.unwrap());
}

pub(super) async fn call(store: &Store, it: &Seen, n: usize) {
    let answer = store
        .claim(vec![it.copy.clone()], NOON)
        .await
        .unwrap()
        .remove(0);
    let CopyAnswer::Claimed(claim) = answer else {
        panic!("{answer:?}")
    };
    let decision = match n % 5 {
        0 => return, // the process stopped during the call
        1 => Decision::Delivered {
            receipt: Some("r-1".to_owned()),
        },
        2 => Decision::Retry { after: None },
        3 => Decision::Refuse,
        _ => Decision::Unknown,
    };
    let record = Record {
        award: claim.award,
        lease: claim.lease,
        decision,
        error: Some("it said so".to_owned()),
        lane_at: NOON,
        jitter: Jitter::NONE,
    };
    store.record(vec![record], NOON).await.unwrap();
}

pub(super) async fn act(store: &Store, it: &Seen, n: usize) {
    let act = async |action| {
        let acted = store.act(it.award, action, by(), NOON).await.unwrap();
        assert!(matches!(acted, Acted::Done(_)), "{it:?}: {acted:?}");
    };
    match (it.prize.as_str(), n % 8) {
        ("mug", 0 | 1) => {
            act(Action::Address(Address {
                name: "Ada".to_owned(),
                lines: vec!["Street 1".to_owned()],
                postal_code: None,
                city: "Town".to_owned(),
                region: None,
                country: "DE".to_owned(),
                phone: None,
            }))
            .await;
            if n.is_multiple_of(8) {
                store
                    .deliver_local(vec![it.copy.clone()], NOON)
                    .await
                    .unwrap();
                let (carrier, tracking) = ("post".to_owned(), "T-1".to_owned());
                act(Action::Ship { carrier, tracking }).await;
            }
        }
        ("ticket", 1) => act(Action::Confirm { receipt: None }).await,
        ("later", 1) => {
            act(Action::Cancel {
                return_stock: false,
            })
            .await;
        }
        ("points", 0) => {
            store.reverse_points(it.award, by(), NOON).await.unwrap();
        }
        _ => {}
    }
}
