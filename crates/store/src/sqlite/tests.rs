//! The engine room's own tests: the writer, the readers, the log, the schema, and
//! what of the path only this store can show. What every store does is said in
//! `conformance`.

mod backup;
mod bounds;
mod draws;
mod open;
mod path;
mod rescue;
mod spans;
mod stock;
mod writer;

use crate::Store;
use crate::read::fixture::Fixture;
use crate::sql::Connection;
use crate::store::Priority;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::task::{Context, Poll, Waker};
use tombola_core::campaign::odds::Roll;
use tombola_core::draw::{DrawRequest, Ticket};
use tombola_core::ids::IdBlock;
use tombola_core::ports::{AwardPath as _, DrawBatch, StoreResult};

/// A call that has the writer until it is let go.
struct Held {
    has_begun: Receiver<()>,
    go: SyncSender<()>,
}

impl Held {
    /// Puts a call in the line of draws that waits for [`Held::let_go`].
    fn new(store: &Store) -> (Self, impl Future<Output = StoreResult<()>> + use<>) {
        let (begun, has_begun) = sync_channel(1);
        let (go, gone): (_, Receiver<()>) = sync_channel(1);
        let call = store.write_once(Priority::Draw, 1, move |_| {
            begun.send(()).unwrap();
            gone.recv().unwrap();
            Ok(())
        });
        (Self { has_begun, go }, call)
    }

    /// Waits until the writer runs it.
    fn wait(&self) {
        self.has_begun.recv().unwrap();
    }

    fn let_go(&self) {
        self.go.send(()).unwrap();
    }
}

/// What a call answers without waiting, if it does.
fn at_once<T>(call: impl Future<Output = T>) -> Option<T> {
    let mut call = pin!(call);
    match call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    }
}

fn insert(conn: &Connection, name: &str) -> StoreResult<()> {
    use crate::sql::OrStoreError as _;
    conn.execute("INSERT INTO meta VALUES (?1, 'x')", [name])
        .map(drop)
        .or_store()
}

/// The names that [`insert`] wrote and that are committed.
fn names(fixture: &Fixture) -> Vec<String> {
    let conn = fixture.shell();
    let mut names = conn
        .prepare_cached("SELECT name FROM meta WHERE value = 'x' ORDER BY name")
        .unwrap();
    names
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap()
}

/// A request for one draw with that roll.
fn request(ids: &mut IdBlock, user: &str, key: &str, roll: u64) -> DrawRequest {
    let id = ids.take().unwrap();
    let tail = id.0.cast_unsigned();
    DrawRequest {
        client: Arc::from("shop"),
        user: Arc::from(user),
        key: Arc::from(key),
        fingerprint: [1; 16],
        tickets: vec![Ticket {
            id,
            roll: Roll(roll),
            message_tail: tail,
            delivery_tail: tail + 7,
        }],
        traceparent: None,
        claim_key_version: 1,
    }
}

fn batch(requests: Vec<DrawRequest>) -> DrawBatch {
    let now = crate::read::fixture::NOW;
    DrawBatch {
        campaign: Arc::from("fair"),
        requests,
        now,
        has_relay: true,
    }
}

/// The campaign `fair`, with so many awards of its first prize on their way.
pub(super) async fn won_by_many(count: usize) -> Fixture {
    let fixture = Fixture::fair().await;
    let reserved = fixture.store.reserve_ids(u32::try_from(count).unwrap());
    let mut ids = reserved.await.unwrap();
    let one = |n| request(&mut ids, &format!("u{n}"), &format!("key-{n:05}"), 0);
    let requests = (0..count).map(one).collect();
    fixture.store.commit_draws(batch(requests)).await.unwrap();
    fixture
}
