//! A database that the tools of PostgreSQL brought back from a backup, or an asynchronous standby
//! that was promoted: it lacks the time since ([`lapse`](crate::lapse)).

use super::options::PostgresOptions;
use super::{Alone, Postgres};
use crate::Shared;
use crate::lapse::{Lapse, Place, Restored};
use crate::rules::RulesCache;
use crate::seals::{Seal, Seals};
use crate::sql::{self, Connection, OrStoreError as _};
use crate::store::answer_of;
use std::sync::Arc;
use tokio_postgres::{Client, Error};
use tombola_core::Timestamp;
use tombola_core::award::step;
use tombola_core::limits::AUDIT_TIMEOUT;
use tombola_core::ports::{Actor, StoreError, StoreResult};
use tombola_core::retry::Schedule;

/// Behind the name of a server it is the name of a restore among the sessions of the database.
const SUFFIX: &str = " restore";

/// Makes of the database one that may be served. Nobody serves it, or it is refused: a server holds
/// ids that others have.
///
/// It is done in steps. Ids and the pause come first, so that nothing is delivered meanwhile, and
/// until the last one the database is refused to whoever would serve it; who was killed runs it
/// again.
pub async fn restore(
    options: &PostgresOptions,
    schedule: Schedule,
    by: Actor,
    now: Timestamp,
) -> StoreResult<Restored> {
    let (options, server_name) = options.renamed(SUFFIX);
    let alone = Alone::connect(&options, AUDIT_TIMEOUT).await?;
    // First, for it says what to do where the schema is not ours.
    let postgres = Postgres::open_to_restore(&options).await?;
    is_served_by_nobody(&alone, &server_name).await?;
    let shared = Arc::new(Shared {
        schedule,
        step,
        origin: postgres.origin().to_owned(),
        rules: RulesCache::default(),
        seals: Seals::new(Seal::closed()),
    });
    let restored = async {
        let mark = postgres.push_write(|tx| mark(tx).or_store());
        answer_of(mark).await?;
        // Again: a server that began before the mark was there is seen now.
        is_served_by_nobody(&alone, &server_name).await?;
        in_steps(&postgres, &shared, by, now).await
    };
    let restored = restored.await;
    postgres.close();
    restored
}

async fn is_served_by_nobody(alone: &Alone, server_name: &str) -> StoreResult<()> {
    match alone.served_by(server_name).await? {
        Some(who) => Err(StoreError::Moved(who)),
        None => Ok(()),
    }
}

/// In `meta`, as long as steps are missing.
const MARK: &str = "restore";

fn mark(tx: &Connection) -> sql::Result<()> {
    tx.prepare_cached(
        "INSERT INTO meta (name, value) VALUES (?1, 'unfinished') ON CONFLICT (name) DO NOTHING",
    )?
    .execute([MARK])
    .map(drop)
}

/// Refuses a database of which a restore is not finished.
pub(super) async fn on_connect(client: &Client) -> Result<StoreResult<()>, Error> {
    let sql = "SELECT EXISTS (SELECT 1 FROM meta WHERE name = $1)";
    let is_unfinished = client.query_one(sql, &[&MARK]).await?.try_get(0)?;
    Ok(if is_unfinished {
        let words = "the restore of this database is not finished: run `tombola restore` again";
        Err(StoreError::Moved(words.to_owned()))
    } else {
        Ok(())
    })
}

fn lapse() -> Lapse {
    Lapse {
        action: "restore",
        subject: "database".to_owned(),
        doubt: "it may have been delivered after what was restored",
    }
}

async fn in_steps(
    postgres: &Postgres,
    shared: &Arc<Shared>,
    by: Actor,
    now: Timestamp,
) -> StoreResult<Restored> {
    let begun = postgres.push_write(move |tx| lapse().begin(tx, &by, now));
    let begun = answer_of(begun).await?;
    while answer_of(postgres.push_write(move |tx| Lapse::give_time(tx, now))).await? {}
    let (mut in_doubt, mut next) = (0, Some(Place::BEGIN));
    while let Some(place) = next {
        let shared = Arc::clone(shared);
        let page = postgres.push_write(move |tx| lapse().doubt(tx, &shared, place, now));
        let page = answer_of(page).await?;
        (in_doubt, next) = (in_doubt + page.doubted, page.next);
    }
    let end = postgres.push_read(AUDIT_TIMEOUT, move |tx| Lapse::end(tx, &begun, in_doubt));
    let restored = answer_of(end).await?;
    let over = postgres.push_write(|tx| {
        let removed = tx.execute("DELETE FROM meta WHERE name = ?1", [MARK]);
        removed.map(drop).or_store()
    });
    answer_of(over).await?;
    Ok(restored)
}
