//! A connection beside the pools, for long work that no call waits behind.

use super::error::{failed, get};
use super::options::PostgresOptions;
use super::session::{Deadline, Opener};
use crate::processes::SILENT_MAX;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio_postgres::{Client, Error};
use tombola_core::ports::StoreResult;

/// Sessions that are there at so many looks stay.
const LINGER_LOOKS: u32 = 20;
/// Between two of them.
const LINGER_PAUSE: Duration = Duration::from_millis(50);

/// A connection of its own, whose statements may take long.
pub(crate) struct Alone {
    pub(crate) client: Client,
    deadline: Deadline,
    _alive: oneshot::Sender<()>,
}

impl Alone {
    /// Connects; a step of the work may take `step_max`.
    pub(crate) async fn connect(
        options: &PostgresOptions,
        step_max: Duration,
    ) -> StoreResult<Self> {
        let opener = Opener::new(options, false)?;
        let (client, alive) = opener.connect().await?;
        let millis = step_max.as_millis();
        let bounds = format!(
            "SET statement_timeout = {millis}; SET idle_in_transaction_session_timeout = {millis}"
        );
        client.batch_execute(&bounds).await.map_err(failed)?;
        Ok(Self {
            client,
            deadline: opener.deadline.of_max(step_max),
            _alive: alive,
        })
    }

    /// A step of the work, or `Unavailable` if no answer comes.
    pub(crate) fn within<T>(
        &self,
        call: impl Future<Output = Result<T, Error>>,
    ) -> impl Future<Output = StoreResult<T>> {
        self.deadline.within(call)
    }

    /// Who serves the database, in words; `None`: nobody. Servers are known by the name of their
    /// sessions, and, whatever that is, by what each tells of itself.
    pub(crate) async fn served_by(&self, name: &str) -> StoreResult<Option<String>> {
        let sessions = self.sessions_that_stay(name).await?;
        if sessions > 0 {
            return Ok(Some(format!(
                "{sessions} connections of `{name}` to the database are open: stop every process that serves it"
            )));
        }
        let alive = "SELECT host || ' (process ' || pid || ')' FROM process
                     WHERE seen_at > (extract(epoch FROM clock_timestamp()) * 1000000)::bigint - $1
                     ORDER BY started_at, id LIMIT 1";
        let silent_max = i64::try_from(SILENT_MAX.as_micros()).unwrap_or(i64::MAX);
        let row = self
            .within(self.client.query_opt(alive, &[&silent_max]))
            .await?;
        row.map(|row| {
            let who: String = get(&row, 0)?;
            let seconds = SILENT_MAX.as_secs();
            Ok(format!(
                "{who} serves the database, or did less than {seconds} seconds ago: stop every process that serves it"
            ))
        })
        .transpose()
    }

    /// Sessions of that name; those of a process that has just stopped end a moment after it.
    async fn sessions_that_stay(&self, name: &str) -> StoreResult<i64> {
        let sql = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND application_name = $1";
        let mut looks = LINGER_LOOKS;
        loop {
            let row = self.within(self.client.query_one(sql, &[&name])).await?;
            let sessions = get(&row, 0)?;
            looks -= 1;
            if sessions == 0 || looks == 0 {
                return Ok(sessions);
            }
            tokio::time::sleep(LINGER_PAUSE).await;
        }
    }
}
