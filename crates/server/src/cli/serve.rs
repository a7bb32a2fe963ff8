//! `tombola serve`: from the start to the last word of a graceful stop.

use super::context::{Context, Usage};
use crate::app::{App, OpenError, Purpose, ServeRoles};
use crate::config::{Flag, Http};
use crate::print::begin_logging;
use crate::serve::{FirstKey, Listening, first_key};
use anyhow::{Context as _, anyhow};
use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use std::process::ExitCode;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tombola_core::limits;

/// `serve`
#[derive(Debug, Default, Args)]
pub struct ServeArgs {
    /// What this process does: a list of api, worker, rescue, console; all unless said.
    /// Apart from each other on PostgreSQL with Kafka only
    #[arg(long, value_name = "ROLES")]
    roles: Option<String>,
    /// Address and port of the API
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// With PostgreSQL: bring a database that is behind to the schema of this version
    #[arg(long)]
    migrate: bool,
}

pub(super) async fn run(args: ServeArgs, context: &mut Context) -> anyhow::Result<ExitCode> {
    let listen = args.listen.map(|value| Flag {
        flag: "--listen",
        key: "http.listen",
        value,
    });
    let config = context.load_config(listen.into_iter().collect())?.config;
    let roles = match args.roles.as_deref() {
        Some(text) => text
            .parse::<ServeRoles>()
            .map_err(|error| Usage(format!("--roles: {error}")))?,
        None => ServeRoles::all(),
    };
    roles
        .check(&config)
        .map_err(|error| Usage(format!("--roles: {error}")))?;
    begin_logging(&config.log.filter, config.log.format == "json");
    raise_files_max(&config.http);
    // Before anything is opened: a signal from here on is a graceful stop.
    let mut signals = Signals::listen(config.http.has_tls())?;
    let purpose = Purpose::Serve {
        migrate: args.migrate,
    };
    let opened = tokio::select! {
        opened = App::open_for(config, purpose) => opened,
        () = signals.next() => return Err(anyhow!(STOPPED_EARLY)),
    };
    let app = match opened {
        Err(OpenError::Locked(directory)) => {
            return Err(anyhow!(
                "another process has {} open",
                directory.root().display()
            ));
        }
        opened => opened?,
    };
    let listening = tokio::select! {
        listening = begin(&app, roles, context) => listening,
        () = signals.next() => Err(anyhow!(STOPPED_EARLY)),
    };
    if let Ok(listening) = &listening {
        signals.stop_of(listening).await;
        context.out.note("stopping; a second signal stops at once");
    }
    // Also when the start failed half-way: what was opened is closed.
    tokio::select! {
        () = end(&app, listening.as_ref().ok()) => {}
        () = signals.next() => {
            context.out.note("stopped at once; the next start takes up what was in hand");
            return Ok(ExitCode::FAILURE);
        }
    }
    listening.map(|_| ExitCode::SUCCESS)
}

/// What a signal during the start comes to.
const STOPPED_EARLY: &str = "stopped before it served";

/// Lets this process open as many files as its connections and calls need, where the
/// system allows it: many systems begin with 1,024.
fn raise_files_max(http: &Http) {
    let limit = getrlimit(Resource::Nofile);
    let calls = u64::try_from(limits::CALLS_IN_FLIGHT_MAX).unwrap_or(u64::MAX);
    // The API and the socket, each full; then the calls, and some for the database.
    let wanted = 2 * u64::from(http.connections_max) + calls + 256;
    let reachable = limit.maximum.map_or(wanted, |most| most.min(wanted));
    if limit.current.is_some_and(|current| current < reachable) {
        let raised = Rlimit {
            current: Some(reachable),
            maximum: limit.maximum,
        };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, "the bound on open files stays as it is");
        }
    }
    if reachable < wanted {
        tracing::warn!(
            reachable,
            wanted,
            "fewer files may be open than http.connections_max asks for; idle connections are closed when they run out"
        );
    }
}

/// Lets the requests under way finish, then everything else; each within its share
/// of the deadline.
async fn end(app: &App, listening: Option<&Listening>) {
    if let Some(listening) = listening {
        let share = app.config().http.stop_deadline.0 / 4;
        if tokio::time::timeout(share, listening.stop()).await.is_err() {
            tracing::warn!("requests under way are cut off");
        }
    }
    app.stop().await;
}

/// Starts everything and says where it is.
async fn begin(app: &App, roles: ServeRoles, context: &Context) -> anyhow::Result<Listening> {
    let out = context.out;
    let first = first_key(app, bootstrap_key()?).await?;
    app.check_adoption(&roles).await?;
    app.start(roles.clone()).await?;
    let listening = Listening::start(app).await?;
    match &first {
        FirstKey::Written(path) => out.note(&format!("an admin key was made: {}", path.display())),
        FirstKey::Given => out.note("an admin key was made from TOMBOLA_BOOTSTRAP_KEY"),
        FirstKey::NotNeeded => {}
    }
    if let Some(address) = listening.metrics_address {
        out.note(&format!("metrics on http://{address}/metrics"));
    }
    let address = listening.address;
    let directory = app.directory().root().display().to_string();
    if out.is_json() {
        out.json(
            &json!({ "address": address, "directory": directory, "roles": roles.to_string() }),
        )?;
    } else {
        let scheme = if listening.has_tls() { "https" } else { "http" };
        out.note(&format!(
            "tombola serves {scheme}://{address} from {directory} ({roles})"
        ));
    }
    Ok(listening)
}

/// `TOMBOLA_BOOTSTRAP_KEY`, or the file that `TOMBOLA_BOOTSTRAP_KEY_FILE` names.
fn bootstrap_key() -> anyhow::Result<Option<String>> {
    if let Some(key) = std::env::var("TOMBOLA_BOOTSTRAP_KEY")
        .ok()
        .filter(|key| !key.is_empty())
    {
        return Ok(Some(key));
    }
    let Some(path) = std::env::var_os("TOMBOLA_BOOTSTRAP_KEY_FILE") else {
        return Ok(None);
    };
    let path = std::path::PathBuf::from(path);
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    Ok(Some(text.trim().to_owned()))
}

/// SIGTERM and SIGINT, which stop, and under TLS SIGHUP. Without TLS a hang-up ends the
/// process, as it does any other.
struct Signals {
    term: Signal,
    interrupt: Signal,
    hang_up: Option<Signal>,
}

impl Signals {
    fn listen(has_tls: bool) -> anyhow::Result<Self> {
        let hang_up = has_tls.then(|| signal(SignalKind::hangup()));
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: hang_up.transpose()?,
        })
    }

    /// Waits for the stop; meanwhile SIGHUP reads the certificate anew.
    async fn stop_of(&mut self, listening: &Listening) {
        loop {
            let hang_up = async {
                match &mut self.hang_up {
                    Some(hang_up) => hang_up.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = self.term.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = hang_up => listening.reload_tls(),
            }
        }
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
