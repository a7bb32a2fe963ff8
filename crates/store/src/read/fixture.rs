//! The world of this crate's own tests: a fresh database, a campaign with a prize of
//! each kind, and people who draw, deliver and operate.
//!
//! Most tests are about SQLite. Those about what is written once for both databases
//! take the database they run on, and [`on_each_database`] lists them.

use crate::conformance::server;
use crate::postgres::Postgres;
use crate::sql::{Connection, Session};
use crate::{SealKeys, Store, StoreOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tombola_core::award::Position;
use tombola_core::campaign::odds::Roll;
use tombola_core::campaign::{Approval, CampaignFile, Transition, parse_toml};
use tombola_core::draw::{DrawFact, DrawRequest, Ticket};
use tombola_core::endpoint::EndpointSpec;
use tombola_core::ports::{
    Acted, Action, Actor, AwardPath as _, Catalog as _, CodesAdded, Copy, CopyAnswer, DrawAnswer,
    DrawBatch, ImportBegun, ImportId, Operate as _, PutCampaign, StoreResult, Transitioned,
};
use tombola_core::{AwardId, DrawId, Timestamp};

/// Noon of some day.
pub(crate) const NOW: Timestamp = Timestamp(1_771_000_000_000_000);

/// One prize of each kind, a tenth of the whole each, in this order; four tenths
/// are nothing.
pub(crate) const FAIR: &str = r#"
[campaign]
slug = "fair"
name = "Fair"
[limits]
per_user_total = 50
per_user_per_day = 20
[odds]
nothing_weight = 4
[[prize]]
slug = "hello"
name = "A greeting"
kind = "text"
text = "hello, winner"
weight = 1
[[prize]]
slug = "gift"
name = "A gift code"
kind = "code"
stock = 3
weight = 1
[[prize]]
slug = "coins"
name = "Ten points"
kind = "points"
points = 10
weight = 1
[[prize]]
slug = "hook"
name = "A coupon"
kind = "webhook"
endpoint = "keen"
weight = 1
[[prize]]
slug = "phone"
name = "A phone"
kind = "physical"
stock = 5
daily_cap = 4
per_user_wins = 3
return_stock = true
weight = 1
[[prize]]
slug = "tour"
name = "A tour"
kind = "external"
weight = 1
"#;

/// A prize of [`FAIR`], by its place; 6 and above is nothing.
pub(crate) const HELLO: u64 = 0;
pub(crate) const GIFT: u64 = 1;
pub(crate) const COINS: u64 = 2;
pub(crate) const HOOK: u64 = 3;
pub(crate) const PHONE: u64 = 4;
pub(crate) const TOUR: u64 = 5;
pub(crate) const NOTHING: u64 = 8;

pub(crate) fn actor() -> Actor {
    Actor {
        name: "ada".to_owned(),
        reason: Some("because".to_owned()),
        request: None,
    }
}

/// Each version's secret is 32 times its number.
pub(crate) fn seal_keys(versions: &[u8]) -> SealKeys {
    let secrets = versions.iter().map(|it| (i32::from(*it), [*it; 32]));
    SealKeys::new("secret.key", secrets.collect())
}

pub(crate) fn file(toml: &str) -> CampaignFile {
    parse_toml("test.toml", toml).unwrap()
}

pub(crate) fn endpoint(name: &str) -> EndpointSpec {
    EndpointSpec {
        name: name.to_owned(),
        url: "https://coupons.example/awards".to_owned(),
        secret: None,
        idempotent: true,
        conflict_means_delivered: false,
        timeout: "10s".to_owned(),
        concurrency: 4,
        rate: None,
        allow_private: false,
    }
}

/// The database that a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    Sqlite,
    Postgres,
}

/// Each of these claims on either database: functions that take an [`On`], all of them
/// `async` or none. Where there is no PostgreSQL, its tests say so and claim nothing.
macro_rules! on_each_database {
    ($(async $claim:ident;)+) => {
        on_each_database!(@on sqlite Sqlite async $($claim)+);
        on_each_database!(@on postgres Postgres async $($claim)+);
    };
    ($($claim:ident;)+) => {
        on_each_database!(@on sqlite Sqlite $($claim)+);
        on_each_database!(@on postgres Postgres $($claim)+);
    };
    (@on $module:ident $on:ident async $($claim:ident)+) => {
        mod $module {
            use $crate::read::fixture::On;

            $(
                #[tokio::test]
                async fn $claim() {
                    if On::$on.is_there() {
                        super::$claim(On::$on).await;
                    }
                }
            )+
        }
    };
    (@on $module:ident $on:ident $($claim:ident)+) => {
        mod $module {
            use $crate::read::fixture::On;

            $(
                #[test]
                fn $claim() {
                    if On::$on.is_there() {
                        super::$claim(On::$on);
                    }
                }
            )+
        }
    };
}
pub(crate) use on_each_database;

impl On {
    /// Whether there is such a database here.
    pub(crate) fn is_there(self) -> bool {
        self == Self::Sqlite || server::is_there()
    }
}

/// A database and those who use it.
pub(crate) struct Fixture {
    pub(crate) store: Arc<Store>,
    home: Home,
    next: AtomicI64,
}

/// Where the database lies.
#[expect(clippy::large_enum_variant, reason = "there is one for each test")]
enum Home {
    Directory(TempDir),
    Server {
        /// The connections of the shell.
        shell: Postgres,
        _database: server::Database,
    },
}

/// Shells of PostgreSQL: their calls block, so their connections are looked after by
/// other threads than those of the tests.
static SHELLS: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().unwrap()
});

impl Fixture {
    /// An empty database on SQLite.
    pub(crate) fn new() -> Self {
        Self::in_directory(tempfile::tempdir().unwrap())
    }

    fn in_directory(dir: TempDir) -> Self {
        let store = Store::open(&dir.path().join("tombola.db"), StoreOptions::default()).unwrap();
        Self {
            store,
            home: Home::Directory(dir),
            next: AtomicI64::new(1),
        }
    }

    /// An empty database.
    pub(crate) async fn empty(on: On) -> Self {
        match on {
            On::Sqlite => Self::new(),
            On::Postgres => Self::on_server().await,
        }
    }

    async fn on_server() -> Self {
        let database = server::Database::new().await.unwrap();
        let options = database.options();
        let store = Store::connect(&options, StoreOptions::default())
            .await
            .unwrap();
        let opening = SHELLS.spawn(async move { Postgres::open(&options).await });
        let shell = opening.await.unwrap().unwrap();
        Self {
            store,
            home: Home::Server {
                shell,
                _database: database,
            },
            next: AtomicI64::new(1),
        }
    }

    /// An empty database whose waits go by that stopwatch.
    pub(crate) fn timed(stopwatch: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_timed(&dir.path().join("tombola.db"), stopwatch).unwrap();
        Self {
            store,
            home: Home::Directory(dir),
            next: AtomicI64::new(1),
        }
    }

    /// One on SQLite that begins as a copy of that file.
    pub(crate) fn copy_of(file: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::copy(file, dir.path().join("tombola.db")).unwrap();
        let fixture = Self::in_directory(dir);
        fixture.next.store(1_000_000, Ordering::Relaxed);
        fixture
    }

    /// The campaign [`FAIR`] on either database.
    pub(crate) async fn fair_on(on: On) -> Self {
        let fixture = Self::empty(on).await;
        fixture.furnish().await;
        fixture
    }

    /// The campaign [`FAIR`], started, with its codes and its endpoint.
    pub(crate) async fn fair() -> Self {
        let fixture = Self::new();
        fixture.furnish().await;
        fixture
    }

    async fn furnish(&self) {
        self.store
            .put_endpoint(endpoint("keen"), "whsec_secret".to_owned(), actor(), NOW)
            .await
            .unwrap();
        self.put(FAIR).await;
        self.import("fair", "gift", &["GIFT-0001", "GIFT-0002", "GIFT-0003"])
            .await;
        self.start("fair").await;
    }

    /// The campaign [`FAIR`] on a database that seals under these versions.
    pub(crate) async fn sealed_fair(versions: &[u8]) -> Self {
        let mut fixture = Self::new();
        fixture.reopen_with(versions).unwrap();
        fixture.furnish().await;
        fixture
    }

    pub(crate) fn path(&self) -> PathBuf {
        let Home::Directory(dir) = &self.home else {
            panic!("the test is about SQLite");
        };
        dir.path().join("tombola.db")
    }

    /// Closes the store and opens the same file again, as another process would.
    pub(crate) fn reopen(&mut self) {
        self.store.close();
        self.store = Store::open(&self.path(), StoreOptions::default()).unwrap();
    }

    /// The same with a `secret.key` of those versions; none: nothing is sealed.
    pub(crate) fn reopen_with(&mut self, versions: &[u8]) -> StoreResult<()> {
        self.store.close();
        let options = StoreOptions {
            seal_keys: (!versions.is_empty()).then(|| seal_keys(versions)),
            ..StoreOptions::default()
        };
        self.store = Store::open(&self.path(), options)?;
        Ok(())
    }

    /// A person with a shell on SQLite: sees all and may write what no code of ours
    /// writes.
    pub(crate) fn shell(&self) -> Connection {
        let conn = rusqlite::Connection::open(self.path()).unwrap();
        conn.busy_timeout(Duration::from_secs(5)).unwrap();
        conn.pragma_update(None, "foreign_keys", false).unwrap();
        conn.pragma_update(None, "ignore_check_constraints", true)
            .unwrap();
        conn.into()
    }

    /// What such a person does on either database.
    pub(crate) fn by_shell<T: Send>(&self, work: impl FnOnce(&Connection) -> T + Send) -> T {
        let Home::Server { shell, .. } = &self.home else {
            return work(&self.shell());
        };
        std::thread::scope(|scope| {
            let work = scope.spawn(|| {
                let _shells = SHELLS.enter();
                let taken = SHELLS.block_on(shell.take()).unwrap();
                let conn = Connection::from(Session::new(taken, Duration::from_mins(2)));
                let done = work(&conn);
                conn.into_postgres().unwrap().into_taken().give_back();
                done
            });
            work.join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Lets a shell write what the constraints of PostgreSQL forbid; those of SQLite it
    /// may pass by.
    pub(crate) fn without_constraints(&self) {
        if let Home::Server { .. } = self.home {
            let drop_all = "DO $$ DECLARE it record; BEGIN
               FOR it IN SELECT conrelid::regclass AS of_table, conname FROM pg_constraint
                         WHERE contype = 'c' AND connamespace = 'public'::regnamespace LOOP
                 EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', it.of_table, it.conname);
               END LOOP; END $$";
            self.by_shell(|conn| conn.execute_batch(drop_all).unwrap());
        }
    }

    /// A number that the shell reads.
    pub(crate) fn number(&self, sql: &str) -> i64 {
        self.by_shell(|conn| conn.query_row(sql, [], |row| row.get(0)).unwrap())
    }

    /// A text that the shell reads.
    pub(crate) fn text(&self, sql: &str) -> String {
        self.by_shell(|conn| conn.query_row(sql, [], |row| row.get(0)).unwrap())
    }

    pub(crate) async fn put(&self, toml: &str) -> PutCampaign {
        self.store
            .put_campaign(file(toml), actor(), NOW)
            .await
            .unwrap()
    }

    pub(crate) async fn go(&self, campaign: &str, command: Transition) -> Transitioned {
        self.store
            .transition(campaign, command, Approval::Anybody, actor(), NOW)
            .await
            .unwrap()
    }

    /// From draft to started.
    pub(crate) async fn start(&self, campaign: &str) {
        for command in [Transition::Submit, Transition::Approve, Transition::Start] {
            let moved = self.go(campaign, command).await;
            assert!(
                matches!(moved, Transitioned::Moved { .. }),
                "{command}: {moved:?}"
            );
        }
    }

    pub(crate) async fn begin(&self, campaign: &str, prize: &str) -> ImportId {
        match self
            .store
            .begin_import(campaign, prize, actor(), NOW)
            .await
            .unwrap()
        {
            ImportBegun::Begun(import) => import,
            ImportBegun::NotFound => panic!("no prize {campaign}/{prize}"),
        }
    }

    pub(crate) async fn add(&self, import: ImportId, codes: &[&str]) -> CodesAdded {
        let codes = codes.iter().map(|code| (*code).to_owned()).collect();
        self.store.add_codes(import, codes, false).await.unwrap()
    }

    pub(crate) async fn import(&self, campaign: &str, prize: &str, codes: &[&str]) -> ImportId {
        let import = self.begin(campaign, prize).await;
        assert_eq!(
            self.add(import, codes).await,
            CodesAdded::Added {
                added: codes.len(),
                skipped: 0
            }
        );
        self.store
            .finish_import(import, 0, actor(), NOW)
            .await
            .unwrap();
        import
    }

    /// One request of draws of [`FAIR`], one for each place.
    pub(crate) async fn draw(&self, user: &str, places: &[u64]) -> Vec<DrawFact> {
        self.draw_at(user, places, NOW).await
    }

    pub(crate) async fn draw_at(
        &self,
        user: &str,
        places: &[u64],
        now: Timestamp,
    ) -> Vec<DrawFact> {
        let mut block = self
            .store
            .reserve_ids(u32::try_from(places.len()).unwrap())
            .await
            .unwrap();
        let tickets = places
            .iter()
            .map(|place| {
                let id = block.take().unwrap();
                let roll = ((u128::from(*place) << 64) + (1 << 63)) / 10;
                let tail = id.0.cast_unsigned();
                Ticket {
                    id,
                    roll: Roll(u64::try_from(roll).unwrap()),
                    message_tail: tail,
                    delivery_tail: tail + 7,
                }
            })
            .collect();
        let key = format!("key-{:08}", self.next.fetch_add(1, Ordering::Relaxed));
        let request = DrawRequest {
            client: "shop".into(),
            user: user.into(),
            key: key.as_str().into(),
            fingerprint: [1; 16],
            tickets,
            traceparent: None,
            claim_key_version: 1,
        };
        let batch = DrawBatch {
            campaign: "fair".into(),
            requests: vec![request],
            now,
            has_relay: true,
        };
        let answer = self.store.commit_draws(batch).await.unwrap().remove(0);
        let DrawAnswer::Drawn { draws, .. } = answer else {
            panic!("{answer:?}")
        };
        draws
    }

    /// One draw that wins the prize of that place.
    pub(crate) async fn win(&self, user: &str, place: u64) -> AwardId {
        let draws = self.draw(user, &[place]).await;
        assert!(draws[0].award.is_some(), "place {place} wins");
        draws[0].id.award()
    }

    fn copy(&self, award: AwardId) -> Copy {
        let message_id = self.text(&format!(
            "SELECT message_id FROM delivery WHERE award_id = {award}"
        ));
        let offset = self.next.fetch_add(1, Ordering::Relaxed);
        Copy {
            award,
            message_id,
            position: Position {
                epoch: 1,
                partition: 3,
                offset,
            },
        }
    }

    /// A worker has a copy of a local kind.
    pub(crate) async fn deliver(&self, award: AwardId) -> CopyAnswer {
        self.store
            .deliver_local(vec![self.copy(award)], NOW)
            .await
            .unwrap()
            .remove(0)
    }

    /// A worker has a copy and a permit; gives the lease.
    pub(crate) async fn claim(&self, award: AwardId) -> i64 {
        self.claim_at(award, NOW).await
    }

    pub(crate) async fn claim_at(&self, award: AwardId, now: Timestamp) -> i64 {
        let copies = vec![self.copy(award)];
        let answer = self.store.claim(copies, now).await.unwrap().remove(0);
        let CopyAnswer::Claimed(claim) = answer else {
            panic!("{answer:?}")
        };
        claim.lease
    }

    pub(crate) async fn act(&self, award: AwardId, action: Action) -> Acted {
        self.store.act(award, action, actor(), NOW).await.unwrap()
    }
}

/// The id of the award of that draw.
pub(crate) fn award_of(draw: &DrawFact) -> AwardId {
    let DrawId(id) = draw.id;
    AwardId(id)
}
