//! The run with kills: `tombola serve` as a child process, ended with SIGKILL in
//! mid-work and started again. A kill counts only if it cut callers off and left
//! deliveries under way, which the next start says in its log.

use super::callers::Pace;
use super::ground::Ground;
use crate::http::auth;
use anyhow::{Context as _, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::process::{Child, Command};

/// SIGKILLs tried in one run.
const KILLS: u64 = 7;
/// SIGKILLs that must have hit the server at work.
pub(crate) const KILLS_MIN: u64 = 5;
/// Callers that must be waiting for a kill to count.
const WAITING_MIN: usize = 8;
/// How long a started server may take to answer.
const START_PATIENCE: Duration = Duration::from_secs(20);
/// Where the server's log goes.
const LOG: &str = "serve.log";
/// What a start says of the awards that the process before left on their way.
const LEFT: &str = "awards of the process before are due at once";
const LOOK: Duration = Duration::from_millis(1);
/// Between two starts of a server that cannot start yet.
const AGAIN: Duration = Duration::from_millis(200);

/// A `tombola serve` that can be killed and started again.
pub(crate) struct Server<'a> {
    ground: &'a Ground,
    config: PathBuf,
    child: Child,
    /// Awards that were on their way when it was killed last.
    left: u64,
}

impl<'a> Server<'a> {
    /// Starts it there, and waits until it is ready.
    pub(crate) async fn start(ground: &'a Ground) -> Result<Self> {
        let config = ground.write_config()?;
        let child = spawn(ground, &config)?;
        let mut server = Self {
            ground,
            config,
            child,
            left: 0,
        };
        server.until_ready().await?;
        Ok(server)
    }

    /// SIGKILL, and at once the next one on the same directory.
    pub(crate) async fn kill_and_restart(&mut self) -> Result<()> {
        self.child
            .kill()
            .await
            .context("the child cannot be killed")?;
        let left = self.ground.on_their_way().await;
        self.child = spawn(self.ground, &self.config)?;
        self.until_ready().await?;
        self.left = match left {
            Some(left) => left,
            None => self.left_as_logged()?,
        };
        Ok(())
    }

    /// Ends it for good, gracefully.
    pub(crate) async fn stop(mut self) -> Result<()> {
        let id = self.child.id().context("the child has ended by itself")?;
        let pid = rustix::process::Pid::from_raw(i32::try_from(id)?).context("a pid is above 0")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let status = self.child.wait().await?;
        ensure!(
            status.success(),
            "the server ended with {status} after SIGTERM"
        );
        Ok(())
    }

    /// Awards that the process before left on their way, as this one says in its log.
    fn left_as_logged(&self) -> Result<u64> {
        let log = std::fs::read_to_string(self.ground.data.join(LOG))?;
        let line = log
            .lines()
            .rev()
            .find(|line| line.contains(LEFT))
            .unwrap_or_default();
        let count = line.rsplit("due=").next().unwrap_or_default();
        Ok(count.trim().parse().unwrap_or_default())
    }

    async fn until_ready(&mut self) -> Result<()> {
        let ready = tokio::time::timeout(START_PATIENCE, async {
            loop {
                if let Some(status) = self.child.try_wait()? {
                    // While PostgreSQL itself restarts nobody starts; whoever looks after
                    // a server starts it again.
                    ensure!(
                        self.ground.is_on_postgres(),
                        "the server ended with {status} instead of starting"
                    );
                    tokio::time::sleep(AGAIN).await;
                    self.child = spawn(self.ground, &self.config)?;
                }
                if tokio::net::UnixStream::connect(self.ground.data.join("tombola.sock"))
                    .await
                    .is_ok()
                {
                    return Ok(());
                }
                tokio::time::sleep(LOOK).await;
            }
        });
        ready.await.context("the server did not start in time")?
    }
}

fn spawn(ground: &Ground, config: &Path) -> Result<Child> {
    let program = std::env::current_exe().context("the path of this program is not known")?;
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(ground.data.join(LOG))?;
    Command::new(program)
        .arg("--config")
        .arg(config)
        .args(["serve", "--migrate", "--listen", "127.0.0.1:0"])
        // Nobody comes from outside; PostgreSQL's first start wants a key all the same.
        .env("TOMBOLA_BOOTSTRAP_KEY", auth::new_key())
        .envs(ground.environment())
        .env_remove("TOMBOLA_DATA")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .context("`tombola serve` does not start")
}

/// Kills the server while `pace` says that callers wait for answers: at even parts
/// of the plan, so that draws and deliveries are under way each time.
pub(crate) async fn kill_while_drawing(
    server: &mut Server<'_>,
    pace: &Arc<Pace>,
    draws: u64,
    tell: &(dyn Fn(u64) + Sync),
) -> Result<u64> {
    let mut kills = 0;
    for kill in 1..=KILLS {
        let from = draws * kill / (KILLS + 1);
        loop {
            let done = pace.done.load(Ordering::Relaxed);
            if done >= from && pace.in_flight.load(Ordering::Relaxed) >= WAITING_MIN {
                break;
            }
            if done >= draws {
                return Ok(kills);
            }
            tokio::time::sleep(LOOK).await;
        }
        let again = pace.again.load(Ordering::Relaxed);
        server.kill_and_restart().await?;
        // Somebody was cut off, and awards were on their way: the server was at work.
        let is_cut_off = pace.again.load(Ordering::Relaxed) > again;
        if is_cut_off && server.left > 0 {
            kills += 1;
            tell(kills);
        }
    }
    Ok(kills)
}
