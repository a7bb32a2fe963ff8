//! The engine of one process: its roles wired together, started and stopped.
//!
//! A stop has two moments. First nothing new begins: the desk turns away who waits,
//! claims whose call has not begun go back, what is under way is finished, the relay
//! publishes what was committed. Near the deadline what is still under way is dropped,
//! and what is known of it is written down: a call that was cut off is an unknown
//! outcome. Whatever is left after that is in the database, and others take it up.

use crate::distributor::{Distributor, WebhookDistributor};
use crate::draw::{Desk, DeskOptions, DeskParts};
use crate::lanes::Lanes;
use crate::meters::Meters;
use crate::relay::{Publisher, Relay, RelayHandle};
use crate::rescue::{RescueHandle, Rescuer, RescuerParts};
use crate::rolls::Seed;
use crate::tasks::Tasks;
use crate::worker::{Adopt, Worker, WorkerOptions, WorkerParts};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tombola_core::limits;
use tombola_core::ports::{AwardPath, Catalog, Clock, StoreResult, Topic};

/// What this process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    /// Draws, and publishes what it drew.
    pub api: bool,
    /// Consumes and delivers.
    pub worker: bool,
    /// Puts back what is overdue.
    pub rescue: bool,
}

impl Roles {
    /// Everything in one process.
    pub const ALL: Self = Self {
        api: true,
        worker: true,
        rescue: true,
    };
}

/// What an engine works with.
#[derive(Clone)]
pub struct EngineParts {
    /// Moves awards.
    pub path: Arc<dyn AwardPath>,
    /// Endpoints, and the database's origin.
    pub catalog: Arc<dyn Catalog>,
    /// The topic.
    pub topic: Arc<dyn Topic>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Makes outside calls; `None`: webhooks.
    pub distributor: Option<Arc<dyn Distributor>>,
    /// Settings.
    pub options: EngineOptions,
}

/// The settings of an engine.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// The workers' group.
    pub group: String,
    /// Of rolls and jitter.
    pub seed: Seed,
    /// This process holds the lock of the data directory, so no other holder lives:
    /// what was pending or in hand is due at once.
    pub is_alone: bool,
    /// Whether the draw desk has a relay; without one its rows are due at once.
    pub has_relay: bool,
    /// Members of the group in this process.
    pub workers: usize,
    /// Bounds of the desk.
    pub desk: DeskOptions,
    /// Bounds of a worker.
    pub worker: WorkerOptions,
    /// Whose messages the workers adopt; without it they keep them.
    pub adopt: Option<Arc<Adopt>>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            group: "lottery".to_owned(),
            seed: Seed::System,
            is_alone: false,
            has_relay: true,
            workers: 1,
            desk: DeskOptions::default(),
            worker: WorkerOptions::default(),
            adopt: None,
        }
    }
}

/// How a stop went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopReport {
    /// Everything under way was finished; otherwise something was dropped near the
    /// deadline, and others take it up.
    pub is_clean: bool,
}

/// A running engine.
pub struct Engine {
    desk: Option<Desk>,
    relay: Option<RelayHandle>,
    rescue: Option<RescueHandle>,
    lanes: Arc<Lanes>,
    catalog: Arc<dyn Catalog>,
    meters: Arc<Meters>,
    /// Stopped in this order: who draws, who delivers and rescues, who publishes.
    front: Tasks,
    middle: Tasks,
    back: Tasks,
    /// Tasks that run as long as the engine does.
    running: Vec<(&'static str, JoinHandle<()>)>,
}

impl Engine {
    /// Starts the roles.
    pub async fn start(parts: EngineParts, roles: Roles) -> StoreResult<Self> {
        let origin: Arc<str> = parts.catalog.origin().await?.into();
        let meters = Arc::new(Meters::new());
        let lanes = Arc::new(Lanes::new(Arc::clone(&parts.clock), Arc::clone(&meters)));
        if parts.options.is_alone {
            let due = parts.path.begin_alone(parts.clock.now()).await?;
            tracing::info!(due, "awards of the process before are due at once");
        }
        let (front, middle, back) = (Tasks::new(), Tasks::new(), Tasks::new());
        let publisher = Arc::new(Publisher::new(
            Arc::clone(&parts.topic),
            Arc::clone(&parts.path),
            Arc::clone(&parts.clock),
            Arc::clone(&meters),
            Arc::clone(&origin),
        ));
        let mut engine = Self {
            desk: None,
            relay: None,
            rescue: None,
            lanes,
            catalog: Arc::clone(&parts.catalog),
            meters,
            front,
            middle,
            back,
            running: Vec::new(),
        };
        if roles.api {
            engine.start_desk(&parts, &publisher);
        }
        if roles.worker {
            engine.lanes.reload(&*parts.catalog).await?;
            engine.start_workers(&parts, &origin);
        }
        if roles.rescue {
            engine.start_rescue(&parts, &publisher);
        }
        Ok(engine)
    }

    fn start_desk(&mut self, parts: &EngineParts, publisher: &Arc<Publisher>) {
        if parts.options.has_relay {
            let meters = Arc::clone(&self.meters);
            let (handle, relay) =
                Relay::new(Arc::clone(publisher), limits::RELAY_WAITING_MAX, meters);
            let running = self.back.spawn(relay.run(self.back.clone()));
            self.running.push(("relay", running));
            self.relay = Some(handle);
        }
        let desk = DeskParts {
            path: Arc::clone(&parts.path),
            clock: Arc::clone(&parts.clock),
            seed: parts.options.seed,
            relay: self.relay.clone(),
            meters: Arc::clone(&self.meters),
            options: parts.options.desk.clone(),
        };
        self.desk = Some(Desk::start(desk, &self.front));
    }

    fn start_workers(&mut self, parts: &EngineParts, origin: &Arc<str>) {
        let distributor = parts
            .distributor
            .clone()
            .unwrap_or_else(|| Arc::new(WebhookDistributor::new(Arc::clone(&parts.clock))));
        for _ in 0..parts.options.workers.max(1) {
            let worker = WorkerParts {
                path: Arc::clone(&parts.path),
                catalog: Arc::clone(&parts.catalog),
                topic: Arc::clone(&parts.topic),
                group: parts.options.group.clone(),
                origin: Arc::clone(origin),
                clock: Arc::clone(&parts.clock),
                lanes: Arc::clone(&self.lanes),
                distributor: Arc::clone(&distributor),
                meters: Arc::clone(&self.meters),
                seed: parts.options.seed,
                adopt: parts.options.adopt.clone(),
                options: parts.options.worker.clone(),
            };
            let worker = Worker::new(worker, self.middle.clone());
            self.running
                .push(("worker", self.middle.spawn(worker.run())));
        }
        let (lanes, catalog) = (Arc::clone(&self.lanes), Arc::clone(&parts.catalog));
        let refresh = refresh_lanes(lanes, catalog, self.middle.clone());
        self.running.push(("endpoints", self.middle.spawn(refresh)));
    }

    fn start_rescue(&mut self, parts: &EngineParts, publisher: &Arc<Publisher>) {
        let rescuer = Rescuer::new(RescuerParts {
            path: Arc::clone(&parts.path),
            topic: Arc::clone(&parts.topic),
            group: parts.options.group.clone(),
            publisher: Arc::clone(publisher),
            lanes: Arc::clone(&self.lanes),
            clock: Arc::clone(&parts.clock),
            meters: Arc::clone(&self.meters),
        });
        self.rescue = Some(rescuer.handle());
        let running = self.middle.spawn(rescuer.run(self.middle.clone()));
        self.running.push(("rescue", running));
    }

    /// Where to draw, in a process with the role `api`.
    pub const fn desk(&self) -> Option<&Desk> {
        self.desk.as_ref()
    }

    /// The relay's queue, in a process with the role `api`.
    pub const fn relay(&self) -> Option<&RelayHandle> {
        self.relay.as_ref()
    }

    /// Wakes rescue, in a process with that role.
    pub const fn rescue(&self) -> Option<&RescueHandle> {
        self.rescue.as_ref()
    }

    /// What is counted.
    pub const fn meters(&self) -> &Arc<Meters> {
        &self.meters
    }

    /// The lanes of this process.
    pub const fn lanes(&self) -> &Arc<Lanes> {
        &self.lanes
    }

    /// Reads the endpoints anew; call it after a change of one.
    pub async fn reload_endpoints(&self) -> StoreResult<()> {
        self.lanes.reload(&*self.catalog).await
    }

    /// Something may be due: an operator released, requeued, resumed.
    pub fn wake_rescue(&self) {
        if let Some(rescue) = &self.rescue {
            rescue.wake();
        }
    }

    /// Parts that have ended although nobody stopped them (a panic, a topic closed for
    /// good): with one of these the process is not ready.
    pub fn ended(&self) -> Vec<&'static str> {
        let ended = self
            .running
            .iter()
            .filter(|(_, running)| running.is_finished());
        ended.map(|(name, _)| *name).collect()
    }

    /// Stops within `deadline`.
    pub async fn stop(self, deadline: Duration) -> StopReport {
        tracing::info!(?deadline, "the engine stops");
        let reserve = limits::STOP_RESERVE.min(deadline / 4);
        let is_clean = tokio::time::timeout(deadline.saturating_sub(reserve), self.wind_down())
            .await
            .is_ok();
        if !is_clean {
            for tasks in [&self.front, &self.middle, &self.back] {
                tasks.abandon();
            }
            if tokio::time::timeout(reserve, self.wind_down())
                .await
                .is_err()
            {
                tracing::warn!(
                    "not everything was written down in time; leases end and others take it up"
                );
            }
        }
        tracing::info!(is_clean, "the engine stopped");
        StopReport { is_clean }
    }

    /// Desk, workers and rescue at once; the relay when nobody gives it anything more.
    async fn wind_down(&self) {
        self.front.stop();
        self.middle.stop();
        self.front.ended().await;
        self.back.stop();
        tokio::join!(self.middle.ended(), self.back.ended());
    }
}

/// Sees what other processes change, and shows the lanes as they stand.
async fn refresh_lanes(lanes: Arc<Lanes>, catalog: Arc<dyn Catalog>, tasks: Tasks) {
    loop {
        tokio::select! {
            () = tasks.stopped() => return,
            () = tokio::time::sleep(limits::ENDPOINT_REFRESH) => {}
        }
        match lanes.reload(&*catalog).await {
            Ok(()) => {}
            Err(error) => tracing::warn!(%error, "the endpoints could not be read"),
        }
    }
}

#[cfg(test)]
mod tests;
