//! A database that the tools of PostgreSQL brought back from a backup, or an asynchronous standby
//! that was promoted: it lacks the time since ([`lapse`](crate::lapse)).

use super::options::PostgresOptions;
use super::{Alone, Postgres};
use crate::Shared;
use crate::lapse::{Lapse, Place, Restored};
use crate::rules::RulesCache;
use crate::seals::{Seal, Seals};
use crate::store::answer_of;
use std::sync::Arc;
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
/// It is done in steps. Ids and the pause come first, so that nothing is delivered meanwhile;
/// whoever was killed runs it again.
pub async fn restore(
    options: &PostgresOptions,
    schedule: Schedule,
    by: Actor,
    now: Timestamp,
) -> StoreResult<Restored> {
    let (options, server_name) = options.renamed(SUFFIX);
    let alone = Alone::connect(&options, AUDIT_TIMEOUT).await?;
    let count = alone.servers(&server_name).await?;
    if count > 0 {
        return Err(StoreError::Moved(format!(
            "{count} connections of `{server_name}` to the database are open: stop every process that serves it"
        )));
    }
    let postgres = Postgres::open(&options).await?;
    let shared = Arc::new(Shared {
        schedule,
        step,
        origin: postgres.origin().to_owned(),
        rules: RulesCache::default(),
        seals: Seals::new(Seal::closed()),
    });
    let restored = in_steps(&postgres, &shared, by, now).await;
    postgres.close();
    restored
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
    let (mut in_doubt, mut next) = (0, Some(Place::BEGIN));
    while let Some(place) = next {
        let shared = Arc::clone(shared);
        let page = postgres.push_write(move |tx| lapse().doubt(tx, &shared, place, now));
        let page = answer_of(page).await?;
        (in_doubt, next) = (in_doubt + page.doubted, page.next);
    }
    let end = postgres.push_read(AUDIT_TIMEOUT, move |tx| Lapse::end(tx, &begun, in_doubt));
    answer_of(end).await
}
