//! The contender: the whole desk on the store, as `serve` wires it, with no relay and
//! no worker. On PostgreSQL there may be several, each with a store of its own.

use crate::postgres::Database;
use anyhow::{Context as _, Result};
use std::path::Path;
use std::sync::Arc;
use tombola_core::Timestamp;
use tombola_core::campaign::{Approval, CampaignFile, Transition, parse_toml};
use tombola_core::ports::{Actor, Catalog, Clock, Transitioned};
use tombola_engine::{
    Desk, DeskAnswer, DeskError, DeskOptions, DeskParts, DrawAsk, Meters, Seed, SystemClock, Tasks,
};
use tombola_store::{Store, StoreOptions};

/// How every campaign begins that is drawn from.
const BEGINNING: &str = r#"
[campaign]
slug = "bench"
name = "Bench"
[limits]
per_user_total = 1000000
per_user_per_day = 1000000
"#;

/// The same odds as the rivals': 30 % wins, five prizes of which two with stock.
pub(crate) const PRIZES: &str = r#"
[[prize]]
slug = "a"
name = "A"
kind = "text"
text = "a"
odds = "6%"
stock = 1000000000
[[prize]]
slug = "b"
name = "B"
kind = "text"
text = "b"
odds = "6%"
stock = 1000000000
[[prize]]
slug = "c"
name = "C"
kind = "text"
text = "c"
odds = "6%"
[[prize]]
slug = "d"
name = "D"
kind = "text"
text = "d"
odds = "6%"
[[prize]]
slug = "e"
name = "E"
kind = "text"
text = "e"
odds = "6%"
"#;

/// Desks on one database.
pub(crate) struct Contender {
    desks: Arc<[Desk]>,
    tasks: Tasks,
    stores: Vec<Arc<Store>>,
}

impl Contender {
    /// One desk on a fresh database in `dir`. `alter` changes the schema first, to see
    /// what an index of it costs.
    pub(crate) async fn start(dir: &Path, alter: Option<&str>) -> Result<Self> {
        let path = dir.join("tombola.db");
        let store = Store::open(&path, StoreOptions::default())?;
        if let Some(sql) = alter {
            rusqlite::Connection::open(&path)?.execute_batch(sql)?;
        }
        put_campaign(&store, PRIZES).await?;
        Ok(Self::on(vec![store]))
    }

    /// Desks on a database whose campaign has started.
    pub(crate) async fn on_postgres(database: &Database, instances: usize) -> Result<Self> {
        let mut stores = Vec::new();
        for _ in 0..instances {
            stores.push(Store::connect(&database.options(), StoreOptions::default()).await?);
        }
        Ok(Self::on(stores))
    }

    fn on(stores: Vec<Arc<Store>>) -> Self {
        let tasks = Tasks::new();
        let desk = |store: &Arc<Store>| {
            let parts = DeskParts {
                path: Arc::clone(store) as _,
                clock: Arc::new(SystemClock::new()),
                seed: Seed::System,
                relay: None,
                meters: Arc::new(Meters::new()),
                options: DeskOptions::default(),
            };
            Desk::start(parts, &tasks)
        };
        Self {
            desks: stores.iter().map(desk).collect(),
            tasks,
            stores,
        }
    }

    /// One of its stores.
    pub(crate) fn store(&self) -> &Store {
        &self.stores[0]
    }

    /// One draw of one of 100,000 users, by the desks in turn.
    pub(crate) fn ask(
        &self,
    ) -> impl Fn(u64) -> std::pin::Pin<Box<dyn Future<Output = Result<()>> + Send>>
    + Clone
    + Send
    + 'static {
        let desks = Arc::clone(&self.desks);
        let (campaign, client): (Arc<str>, Arc<str>) = ("bench".into(), "bench".into());
        move |number| {
            let turn = usize::try_from(number).unwrap_or_default() % desks.len();
            let (desk, campaign, client) = (
                desks[turn].clone(),
                Arc::clone(&campaign),
                Arc::clone(&client),
            );
            Box::pin(async move { draw(&desk, campaign, client, number).await })
        }
    }

    pub(crate) fn stop(&self) {
        self.tasks.stop();
    }

    /// Lets go of its databases too.
    pub(crate) fn close(self) {
        self.stop();
        for store in self.stores {
            store.close();
        }
    }
}

/// One draw of one of 100,000 users, asked for again where a disk stalls for so long that the desk
/// sends callers away.
pub(crate) async fn draw(
    desk: &Desk,
    campaign: Arc<str>,
    client: Arc<str>,
    number: u64,
) -> Result<()> {
    let ask = DrawAsk {
        campaign,
        client,
        user: user_of(number).into(),
        key: key_of(number).into(),
        fingerprint: [0; 16],
        count: 1,
        traceparent: None,
        claim_key_version: 1,
    };
    loop {
        match desk.draw(ask.clone()).await {
            Ok(DeskAnswer::Drawn(_)) => return Ok(()),
            Err(DeskError::Overloaded { retry_after }) => tokio::time::sleep(retry_after).await,
            other => anyhow::bail!("a draw was answered {other:?}"),
        }
    }
}

/// The file of a campaign with these prizes.
pub(crate) fn campaign(prizes: &str) -> String {
    format!("{BEGINNING}{prizes}")
}

/// Puts a campaign with these prizes into a fresh database on PostgreSQL, and starts it.
pub(crate) async fn prepare(database: &Database, prizes: &str) -> Result<()> {
    let store = Store::connect(&database.options(), StoreOptions::default()).await?;
    put_campaign(&store, prizes).await?;
    store.close();
    Ok(())
}

pub(crate) async fn put_campaign(store: &Store, prizes: &str) -> Result<()> {
    let file = parse_toml("bench.toml", &campaign(prizes))
        .map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    start_campaign(store, file, true, SystemClock::new().now()).await
}

/// Puts a campaign in, and starts it.
pub(crate) async fn start_campaign(
    store: &Store,
    file: CampaignFile,
    is_started: bool,
    now: Timestamp,
) -> Result<()> {
    store.put_campaign(file, actor(), now).await?;
    let commands = [Transition::Submit, Transition::Approve, Transition::Start];
    for command in commands.into_iter().filter(|_| is_started) {
        let moved = store
            .transition("bench", command, Approval::Anybody, actor(), now)
            .await?;
        matches!(moved, Transitioned::Moved { .. })
            .then_some(())
            .with_context(|| format!("{moved:?}"))?;
    }
    Ok(())
}

/// Who does all this.
pub(crate) fn actor() -> Actor {
    Actor {
        name: "bench".to_owned(),
        reason: None,
        request: None,
    }
}

/// Who asks as number `number`: spread over 100,000 users.
pub(crate) fn user_of(number: u64) -> String {
    format!(
        "user-{:06}",
        number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % 100_000
    )
}

/// Its request key: as random as a client's own.
pub(crate) fn key_of(number: u64) -> String {
    format!(
        "{:016x}-{number:08x}",
        number.wrapping_mul(0xD134_2543_DE82_EF95)
    )
}
