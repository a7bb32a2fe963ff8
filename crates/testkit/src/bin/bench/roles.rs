//! All roles in one process, as `serve` wires them, on a store that is watched; and the
//! two ways in which draws are asked of them: as fast as awards are delivered, or on
//! time, whatever becomes of them.

use crate::desk;
use crate::watched::Watched;
use anyhow::{Context as _, Result, bail, ensure};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tombola_core::ports::Topic;
use tombola_engine::{Desk, Engine, EngineOptions, EngineParts, Meters, Roles, SystemClock};
use tombola_store::Store;

/// Every draw wins, two local kinds.
pub(crate) const PRIZES: &str = r#"
[[prize]]
slug = "voucher"
name = "A voucher for a coffee"
kind = "text"
text = "Show this at the counter"
odds = "70%"
[[prize]]
slug = "points"
name = "10 points"
kind = "points"
points = 10
odds = "30%"
"#;

/// Callers of the closed loop.
const CALLERS: usize = 512;
/// Awards between commit and delivery in the closed loop: more than are on their way at
/// once, fewer than the relay drops.
const ROOM: usize = 8_000;
/// What is not delivered so long after the last draw never will be.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often it is looked whether all is delivered.
const LOOK: Duration = Duration::from_millis(20);
/// How long a stop may take.
const STOP: Duration = Duration::from_secs(10);

/// A running engine.
pub(crate) struct Running {
    engine: Engine,
    pub(crate) watched: Arc<Watched>,
    asker: Asker,
}

/// Whoever draws.
#[derive(Clone)]
pub(crate) struct Asker {
    desk: Desk,
    campaign: Arc<str>,
    client: Arc<str>,
    numbers: Arc<AtomicU64>,
}

impl Asker {
    async fn draw(&self) -> Result<()> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let (campaign, client) = (Arc::clone(&self.campaign), Arc::clone(&self.client));
        desk::draw(&self.desk, campaign, client, number).await
    }
}

impl Running {
    /// On a store whose campaign has started.
    pub(crate) async fn start(store: Arc<Store>, topic: Arc<dyn Topic>) -> Result<Self> {
        let watched = Watched::new(Arc::clone(&store), ROOM);
        let parts = EngineParts {
            path: Arc::clone(&watched) as _,
            catalog: store,
            topic,
            clock: Arc::new(SystemClock::new()),
            distributor: None,
            options: EngineOptions::default(),
        };
        let engine = Engine::start(parts, Roles::ALL).await?;
        let asker = Asker {
            desk: engine.desk().context("a desk")?.clone(),
            campaign: "bench".into(),
            client: "bench".into(),
            numbers: Arc::new(AtomicU64::new(1)),
        };
        Ok(Self {
            engine,
            watched,
            asker,
        })
    }

    pub(crate) const fn meters(&self) -> &Arc<Meters> {
        self.engine.meters()
    }

    /// Deliveries a second while callers draw as fast as awards are delivered.
    pub(crate) async fn closed_loop(&self, warm_up: Duration, measured: Duration) -> Result<f64> {
        let until = Instant::now() + warm_up + measured;
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            let (watched, asker) = (Arc::clone(&self.watched), self.asker.clone());
            callers.spawn(async move {
                while Instant::now() < until {
                    watched.room.acquire().await?.forget();
                    asker.draw().await?;
                }
                Ok::<_, anyhow::Error>(())
            });
        }
        tokio::time::sleep(warm_up).await;
        let (begun, before) = (Instant::now(), self.watched.delivered());
        tokio::time::sleep_until(until.into()).await;
        let delivered = self.watched.delivered() - before;
        let took = begun.elapsed();
        while let Some(caller) = callers.join_next().await {
            caller??;
        }
        self.all_delivered().await?;
        Ok(f64::from(u32::try_from(delivered)?) / took.as_secs_f64())
    }

    /// Draws on time, so many a second as `rate` says now, whether or not those before were
    /// answered, until it says `None`. Gives how many were asked for and how many were
    /// answered.
    pub(crate) async fn open_loop(&self, rate: impl Fn() -> Option<f64>) -> Result<Offered> {
        let (mut seen, mut owed) = (Instant::now(), 0.0);
        let (mut offered, mut draws) = (Offered::default(), JoinSet::new());
        let mut turns = tokio::time::interval(Duration::from_millis(1));
        while let Some(rate) = rate() {
            turns.tick().await;
            let now = Instant::now();
            owed += (now - seen).as_secs_f64() * rate;
            seen = now;
            while f64::from(offered.asked) < owed {
                let asker = self.asker.clone();
                draws.spawn(async move { asker.draw().await });
                offered.asked += 1;
            }
            while let Some(drawn) = draws.try_join_next() {
                offered.note(drawn?.as_ref());
            }
        }
        while let Some(drawn) = draws.join_next().await {
            offered.note(drawn?.as_ref());
        }
        Ok(offered)
    }

    /// Waits until nothing is on its way any more.
    pub(crate) async fn all_delivered(&self) -> Result<()> {
        let begun = Instant::now();
        loop {
            let (committed, delivered) = (self.watched.committed(), self.watched.delivered());
            if committed == delivered {
                return Ok(());
            }
            ensure!(
                begun.elapsed() < PATIENCE,
                "{} of {committed} awards are not delivered",
                committed - delivered
            );
            tokio::time::sleep(LOOK).await;
        }
    }

    pub(crate) async fn stop(self) -> Result<()> {
        let store = Arc::clone(&self.watched.store);
        if !self.engine.stop(STOP).await.is_clean {
            bail!("the engine did not stop in time");
        }
        store.close();
        Ok(())
    }
}

/// What came of draws on time.
#[derive(Debug, Default)]
pub(crate) struct Offered {
    pub(crate) asked: u32,
    pub(crate) answered: u32,
}

impl Offered {
    fn note(&mut self, drawn: Result<&(), &anyhow::Error>) {
        self.answered += u32::from(drawn.is_ok());
    }
}
