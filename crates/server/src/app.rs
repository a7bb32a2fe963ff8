//! The wiring of one process: the data directory and its lock, the store, the
//! topic, the engine, keys and secrets. Everything that the handlers need hangs
//! on [`App`]; clones are handles of the same.

mod chores;
mod foreign;
mod open;
mod roles;
mod secrets;
mod topic;

pub use open::{OpenError, Purpose};
pub use roles::{RoleError, ServeRole, ServeRoles};
pub(crate) use topic::OurTopic;

use crate::api::AuditReport;
use crate::claim::ClaimKeys;
use crate::config::Config;
use crate::directory::{Directory, DirectoryLock};
use crate::http::auth::KeyRing;
use crate::http::error::{ApiError, Code};
use crate::http::{HttpCounts, Rates, Room};
use crate::import::ImportTurn;
use crate::secret::Secrets;
use axum::Router;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{MutexGuard, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use tombola_core::Timestamp;
use tombola_core::endpoint::Endpoint;
use tombola_core::ports::{Catalog, Clock, Operate, StoreResult};
use tombola_core::reason::HoldReason;
use tombola_engine::breaker::BreakerState;
use tombola_engine::{
    Desk, DeskOptions, Engine, EngineOptions, EngineParts, Lanes, Meters, RescueHandle, Roles,
    Seed, SystemClock, Tasks, TestCall, TestCaller, TestRefused,
};
use tombola_store::Store;
use tombola_store::read::{EndpointFact, Gauges};

/// How old the numbers of the database may be that `/metrics` shows.
const GAUGES_AGE_MAX: Duration = Duration::from_secs(5);
/// How long a look at the database may take before it counts as not ready: less than
/// `healthcheck` waits.
const READY_MAX: Duration = Duration::from_secs(3);
/// Ids reserved at a time by a command: it draws once and ends.
const COMMAND_ID_BLOCK: u32 = 200;

/// One process's server.
#[derive(Clone)]
pub struct App(Arc<Inner>);

struct Inner {
    config: Config,
    directory: Directory,
    lock: Mutex<Option<DirectoryLock>>,
    store: Arc<Store>,
    topic: OurTopic,
    clock: Arc<SystemClock>,
    claims: RwLock<Arc<ClaimKeys>>,
    /// Held by a change of the secret.
    secrets: tokio::sync::Mutex<Secrets>,
    reseal_turn: tokio::sync::Mutex<()>,
    /// Bulk actions that this process goes on with.
    operations: Mutex<HashSet<i64>>,
    keys: KeyRing,
    /// Held while keys are read anew, so that an older list never takes the place of a newer one.
    keys_turn: tokio::sync::Mutex<()>,
    http_counts: HttpCounts,
    rates: Rates,
    room: Room,
    /// What is spawned beside the engine.
    tasks: Tasks,
    engine: tokio::sync::Mutex<Option<Engine>>,
    running: RwLock<Running>,
    audit_turn: tokio::sync::Mutex<()>,
    backup_turn: Arc<tokio::sync::Mutex<()>>,
    imports: Arc<tokio::sync::RwLock<()>>,
    audit_violations: AtomicU64,
    exports_gauges: AtomicBool,
    answers_api: AtomicBool,
    test_caller: OnceLock<TestCaller>,
    gauges: tokio::sync::Mutex<Option<(Duration, Gauges)>>,
    exports: Arc<Semaphore>,
}

/// Handles of the engine that runs, or of none.
#[derive(Clone, Default)]
struct Running {
    desk: Option<Desk>,
    rescue: Option<RescueHandle>,
    lanes: Option<Arc<Lanes>>,
    meters: Arc<Meters>,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App")
            .field("directory", &self.0.directory)
            .finish_non_exhaustive()
    }
}

impl App {
    /// The router of every operation.
    pub fn router(&self) -> Router {
        crate::http::router(self)
    }

    /// What this process answers on the network: without the role api how it does, and
    /// nothing else.
    pub(crate) fn network_router(&self) -> Router {
        if self.answers_api() {
            self.router()
        } else {
            crate::http::health_router(self)
        }
    }

    /// Starts the roles, with rolls from the system.
    pub async fn start(&self, roles: ServeRoles) -> StoreResult<()> {
        self.start_seeded(roles, Seed::System).await
    }

    /// Starts the roles, with rolls from `seed`. What the process before left in
    /// hand is due at once: this one holds the lock, so no other holder lives.
    pub async fn start_seeded(&self, roles: ServeRoles, seed: Seed) -> StoreResult<()> {
        let options = EngineOptions {
            seed,
            is_alone: !self.0.store.is_shared(),
            has_relay: roles.has(ServeRole::Api),
            ..self.engine_options()
        };
        let mut engine = self.0.engine.lock().await;
        self.stop_engine(&mut engine).await; // one that only drew for a command
        self.start_telling(&roles).await?;
        self.begin_topic().await?;
        self.begin(&mut engine, roles.engine(), options).await?;
        tracing::info!(%roles, "the engine runs");
        self.0
            .exports_gauges
            .store(roles.has(ServeRole::Rescue), Ordering::Relaxed);
        self.0
            .answers_api
            .store(roles.has(ServeRole::Api), Ordering::Relaxed);
        drop(engine);
        self.start_chores(&roles);
        Ok(())
    }

    fn engine_options(&self) -> EngineOptions {
        EngineOptions {
            group: self.0.config.broker.group.clone(),
            adopt: self.adopt().map(Arc::new),
            ..EngineOptions::default()
        }
    }

    async fn begin(
        &self,
        slot: &mut Option<Engine>,
        roles: Roles,
        options: EngineOptions,
    ) -> StoreResult<()> {
        let parts = EngineParts {
            path: self.0.store.clone(),
            catalog: self.0.store.clone(),
            topic: self.0.topic.port(),
            clock: self.0.clock.clone(),
            distributor: None,
            options,
        };
        let engine = Engine::start(parts, roles).await?;
        let running = Running {
            desk: engine.desk().cloned(),
            rescue: engine.rescue().cloned(),
            lanes: Some(Arc::clone(engine.lanes())),
            meters: Arc::clone(engine.meters()),
        };
        *self
            .0
            .running
            .write()
            .unwrap_or_else(PoisonError::into_inner) = running;
        *slot = Some(engine);
        Ok(())
    }

    fn running(&self) -> Running {
        self.0
            .running
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Where to draw. A command that has the directory open draws at a desk without
    /// a relay: the next server publishes what it won.
    pub(crate) async fn desk(&self) -> Result<Desk, ApiError> {
        if let Some(desk) = self.running().desk {
            return Ok(desk);
        }
        let mut engine = self.0.engine.lock().await;
        if engine.is_none() && !self.0.tasks.is_stopped() {
            let roles = Roles {
                api: true,
                worker: false,
                rescue: false,
            };
            let desk = DeskOptions {
                id_block: COMMAND_ID_BLOCK,
                ..DeskOptions::default()
            };
            let options = EngineOptions {
                has_relay: false,
                desk,
                ..self.engine_options()
            };
            self.begin(&mut engine, roles, options).await?;
        }
        self.running().desk.ok_or_else(|| Code::Stopping.into())
    }

    /// Stops within the deadline of the config: nothing new begins, what is under
    /// way is finished or given back, the directory is given back.
    pub async fn stop(&self) {
        let deadline = self.0.config.http.stop_deadline.0;
        self.0.tasks.stop();
        self.stop_engine(&mut *self.0.engine.lock().await).await;
        let (ended, ()) = tokio::join!(
            tokio::time::timeout(deadline / 4, self.0.tasks.ended()),
            self.0.topic.close(deadline / 4),
        );
        if ended.is_err() {
            tracing::warn!(
                "not all work ended in time; the next start takes away what is left of an import"
            );
        }
        let store = Arc::clone(&self.0.store);
        if let Err(error) = tokio::task::spawn_blocking(move || store.close()).await {
            tracing::error!(%error, "the store was not closed");
        }
        drop(
            self.0
                .lock
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
    }

    /// Half of the deadline is the engine's: calls under way take the longest.
    async fn stop_engine(&self, slot: &mut Option<Engine>) {
        if let Some(engine) = slot.take() {
            engine.stop(self.0.config.http.stop_deadline.0 / 2).await;
        }
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// The data directory.
    pub fn directory(&self) -> &Directory {
        &self.0.directory
    }

    /// The store, for reads and for the ports.
    pub fn store(&self) -> &Arc<Store> {
        &self.0.store
    }

    /// The instant now.
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// Time since some fixed point, for how long something takes.
    pub(crate) fn monotonic(&self) -> Duration {
        self.0.clock.monotonic()
    }

    /// The keys that sign claim tokens.
    pub fn claims(&self) -> Arc<ClaimKeys> {
        let claims = self.0.claims.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&claims)
    }

    pub(crate) fn keys(&self) -> &KeyRing {
        &self.0.keys
    }

    pub(crate) fn http_counts(&self) -> &HttpCounts {
        &self.0.http_counts
    }

    pub(crate) fn rates(&self) -> &Rates {
        &self.0.rates
    }

    pub(crate) fn room(&self) -> &Room {
        &self.0.room
    }

    pub(crate) fn tasks(&self) -> &Tasks {
        &self.0.tasks
    }

    /// What the engine counts.
    pub fn meters(&self) -> Arc<Meters> {
        self.running().meters
    }

    /// Reads the keys anew: at once after a change of one.
    pub async fn refresh_keys(&self) -> StoreResult<()> {
        let _turn = self.0.keys_turn.lock().await;
        self.0.keys.replace(self.0.store.keys().await?);
        Ok(())
    }

    /// An endpoint was changed: the lanes of this process see it at once.
    pub(crate) async fn endpoints_changed(&self) {
        if let Some(lanes) = self.running().lanes
            && let Err(error) = lanes.reload(&*self.0.store).await
        {
            tracing::warn!(%error, "the change of an endpoint is seen a little later");
        }
        self.wake_rescue();
    }

    /// Makes one test call, outside of any transaction and lock. Its client is made
    /// when it is needed first: few commands do.
    pub(crate) async fn test_call(
        &self,
        endpoint: &Endpoint,
        id: &str,
    ) -> Result<TestCall, TestRefused> {
        let clock: Arc<dyn Clock> = self.0.clock.clone();
        let caller = self.0.test_caller.get_or_init(|| TestCaller::new(clock));
        let lanes = self.running().lanes;
        caller.call(lanes.as_ref(), endpoint, id).await
    }

    /// Ends the holds whose reason has ended, in steps, and wakes rescue. What a
    /// death in the middle leaves is found by rescue at the date of its review.
    pub(crate) async fn end_holds(&self, reason: HoldReason) -> StoreResult<u64> {
        let mut ended = 0;
        loop {
            match self.0.store.end_holds(reason, self.now()).await? {
                0 => break,
                some => ended += some,
            }
        }
        self.wake_rescue();
        Ok(ended)
    }

    /// How the breaker of each endpoint stands, by name; without an engine none.
    pub(crate) fn breakers(&self, endpoints: &[EndpointFact]) -> Vec<(String, BreakerState)> {
        let Some(lanes) = self.running().lanes else {
            return Vec::new();
        };
        endpoints
            .iter()
            .map(|it| (it.name.clone(), lanes.breaker_state(it.lane)))
            .collect()
    }

    /// How far the clock was off the database's time at the last look.
    pub(crate) fn clock_off(&self) -> Duration {
        self.0.clock.off()
    }

    /// Something may be due now.
    pub(crate) fn wake_rescue(&self) {
        if let Some(rescue) = self.running().rescue {
            rescue.wake();
        }
    }

    /// Held by an export while it runs; `None` if as many run as may.
    pub(crate) fn export_turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0.exports).try_acquire_owned().ok()
    }

    pub(crate) async fn audit_turn(&self) -> MutexGuard<'_, ()> {
        self.0.audit_turn.lock().await
    }

    /// Held by the one backup that may be under way; `None` while another is.
    pub(crate) fn backup_turn(&self) -> Option<OwnedMutexGuard<()>> {
        Arc::clone(&self.0.backup_turn).try_lock_owned().ok()
    }

    /// Held by an import while it runs.
    pub(crate) async fn import_turn(&self) -> ImportTurn {
        Arc::clone(&self.0.imports).read_owned().await
    }

    /// Keeps imports from beginning, if none runs.
    pub(crate) fn no_import_runs(&self) -> Option<tokio::sync::RwLockWriteGuard<'_, ()>> {
        self.0.imports.try_write().ok()
    }

    pub(crate) fn audited(&self, report: &AuditReport) {
        let violations = report.checks.iter().map(|check| check.violations).sum();
        self.0.audit_violations.store(violations, Ordering::Relaxed);
    }

    pub(crate) fn audit_violations(&self) -> u64 {
        self.0.audit_violations.load(Ordering::Relaxed)
    }

    /// Whether this process shows what the database holds.
    pub(crate) fn exports_gauges(&self) -> bool {
        self.0.exports_gauges.load(Ordering::Relaxed)
    }

    /// What the database holds, a few seconds old at most: it is counted from rows.
    pub(crate) async fn gauges(&self) -> StoreResult<Gauges> {
        let mut kept = self.0.gauges.lock().await;
        let now = self.0.clock.monotonic();
        match &*kept {
            Some((at, gauges)) if now.saturating_sub(*at) < GAUGES_AGE_MAX => Ok(gauges.clone()),
            Some(_) | None => {
                let gauges = self.0.store.gauges().await?;
                *kept = Some((now, gauges.clone()));
                Ok(gauges)
            }
        }
    }

    /// The topic of this process.
    pub(crate) fn topic(&self) -> &OurTopic {
        &self.0.topic
    }

    /// Whether this process has the role api, or is a command.
    pub(crate) fn answers_api(&self) -> bool {
        self.0.answers_api.load(Ordering::Relaxed)
    }

    /// What keeps the engine from its work: it does not run, or a part of it has ended.
    fn engine_trouble(&self) -> Option<String> {
        if self.running().desk.is_none() || self.0.tasks.is_stopped() {
            return Some("not running".to_owned());
        }
        // Whoever has it starts or stops it.
        let engine = self.0.engine.try_lock().ok()?;
        let ended = engine.as_ref().map(Engine::ended)?;
        (!ended.is_empty()).then(|| format!("{} ended: restart the process", ended.join(", ")))
    }

    /// Each dependency by name, with `ok` or what is the matter. A draw does not need
    /// the broker, so where draws are answered its absence is told and no more: else
    /// every process would be taken away while all that they do goes on.
    pub(crate) async fn readiness(&self) -> Vec<Check> {
        let ready = tokio::time::timeout(READY_MAX, self.0.store.ready()).await;
        let database = match ready {
            Ok(ready) => ready.err().map(|error| error.to_string()),
            Err(_) => Some(format!("no answer within {} s", READY_MAX.as_secs())),
        };
        let topic = self.0.topic.trouble();
        let clock = &self.0.clock;
        let clock = (!clock.is_trusted())
            .then(|| format!("{} ms off the database's time", clock.off().as_millis()));
        let engine = self.engine_trouble();
        vec![
            Check::needed("database", database),
            Check {
                is_needed: !self.answers_api(),
                ..Check::needed("topic", topic)
            },
            Check::needed("clock", clock),
            Check::needed("engine", engine),
        ]
    }
}

/// One thing that a process depends on.
pub(crate) struct Check {
    /// Its name.
    pub(crate) name: &'static str,
    /// What is the matter, if anything is.
    pub(crate) trouble: Option<String>,
    /// Whether the process is of no use without it.
    pub(crate) is_needed: bool,
}

impl Check {
    fn needed(name: &'static str, trouble: Option<String>) -> Self {
        Self {
            name,
            trouble,
            is_needed: true,
        }
    }

    /// Whether it keeps the process from being ready.
    pub(crate) fn is_in_the_way(&self) -> bool {
        self.is_needed && self.trouble.is_some()
    }

    /// `ok`, what is the matter, or that it goes on without it.
    pub(crate) fn said(&self) -> String {
        match &self.trouble {
            None => "ok".to_owned(),
            Some(trouble) if self.is_needed => trouble.clone(),
            Some(trouble) => format!("degraded: {trouble}"),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
