//! Services of one run of tests or of a benchmark: started for it where nobody has set the variables that name them, and
//! stopped with it.
//!
//! A process of its own waits for the run to end and then stops them. It notices by its standard
//! input, which the run holds open, so that a run that is killed leaves nothing behind either.

use std::env;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{self, Child, Command, Stdio};

use anyhow::{Context, Result};

use super::state::Home;
use super::{
    INSTANCE, KAFKA, NotHere, POSTGRES, PostgresRelease, Service, Wanted, WhichArgs, begin, down,
    kafka, postgres, quoted,
};
use crate::shell::Workspace;
use crate::tally::Tally;

/// Names services whose absence fails the run, where it else skips what needs them.
const REQUIRE: &str = "TOMBOLA_TEST_REQUIRE";

#[derive(Debug, Default)]
pub(crate) struct Guard {
    attendant: Option<Child>,
    variables: Vec<(&'static str, String)>,
}

impl Guard {
    /// Starts what is not there yet. What cannot be had goes to the tally; the tests that need it
    /// then skip themselves.
    pub(crate) fn start(workspace: &Workspace, which: &WhichArgs, tally: &mut Tally) -> Self {
        let mut guard = Self::default();
        let wanted = Wanted {
            postgres: find(POSTGRES, Service::Postgres, tally, || which.find_postgres()),
            kafka: find(KAFKA, Service::Kafka, tally, || which.find_kafka()),
        };
        if wanted.postgres.is_none() && wanted.kafka.is_none() {
            return guard;
        }
        if let Some((kafka, _)) = &wanted.kafka
            && let Err(error) = &kafka.clients
        {
            let required = env::var(REQUIRE).unwrap_or_default();
            report(Service::Kafka, error, &required, tally);
        }
        if let Err(error) = guard.begin(workspace, &wanted) {
            tally.fail(format!("services: {error:#}"));
        }
        guard
    }

    /// Starts a PostgreSQL alone, unless one is named already.
    pub(crate) fn postgres(workspace: &Workspace) -> Result<Self> {
        Self::of(workspace, false)
    }

    /// Starts a PostgreSQL and a Kafka, each unless one is named already.
    pub(crate) fn both(workspace: &Workspace) -> Result<Self> {
        Self::of(workspace, true)
    }

    fn of(workspace: &Workspace, needs_kafka: bool) -> Result<Self> {
        let is_missing = |variable| env::var_os(variable).is_none();
        let wanted = Wanted {
            postgres: is_missing(POSTGRES)
                .then(postgres::Programs::installed)
                .transpose()?,
            kafka: (needs_kafka && is_missing(KAFKA))
                .then(|| WhichArgs::default().find_kafka())
                .transpose()?,
        };
        let mut guard = Self::default();
        if wanted.postgres.is_some() || wanted.kafka.is_some() {
            guard.begin(workspace, &wanted)?;
        }
        Ok(guard)
    }

    /// Starts a PostgreSQL and three nodes of Kafka for this run alone, whatever else runs: it
    /// kills them.
    pub(crate) fn cluster(workspace: &Workspace) -> Result<Self> {
        let mut guard = Self::default();
        let wanted = Wanted {
            postgres: Some(postgres::Programs::installed()?),
            kafka: Some((kafka::Programs::find(None)?, 3)),
        };
        guard.begin(workspace, &wanted)?;
        Ok(guard)
    }

    /// Starts a PostgreSQL of this release alone, whichever is named. What keeps it away goes to the
    /// tally.
    pub(crate) fn release(
        workspace: &Workspace,
        release: PostgresRelease,
        tally: &mut Tally,
    ) -> Option<Self> {
        let required = env::var(REQUIRE).unwrap_or_default();
        let programs = postgres::Programs::of(release)
            .map_err(|error| report(Service::Postgres, &error, &required, tally))
            .ok()?;
        let wanted = Wanted {
            postgres: Some(programs),
            kafka: None,
        };
        let mut guard = Self::default();
        if let Err(error) = guard.begin(workspace, &wanted) {
            tally.fail(format!("services: {error:#}"));
            return None;
        }
        Some(guard)
    }

    fn begin(&mut self, workspace: &Workspace, wanted: &Wanted) -> Result<()> {
        let runs = workspace.target().join("xtask").join("services-of-tests");
        let home = Home::at(runs.join(process::id().to_string()));
        drop(home.lock()?);
        let mut attendant = Command::new(env::current_exe()?);
        attendant.args(["services", "attend"]).arg(home.path());
        // No key pressed in this terminal may reach it: it has to outlive this run.
        let attendant = attendant.stdin(Stdio::piped()).process_group(0).spawn();
        self.attendant = Some(attendant.context("starting who stops the services")?);
        let state = begin(&home, wanted)?;
        self.variables = state.variables(&home);
        if let Some(postgres) = &state.postgres {
            self.variables.push(("PATH", postgres.path()?));
        }
        Ok(())
    }

    /// Where PostgreSQL is, be it started here or named by whoever called.
    pub(crate) fn postgres_url(&self) -> Option<String> {
        self.variable(POSTGRES)
    }

    /// Where the brokers of Kafka are, likewise.
    pub(crate) fn kafka_servers(&self) -> Option<String> {
        self.variable(KAFKA)
    }

    fn variable(&self, name: &str) -> Option<String> {
        let started = self.variables.iter().find(|(of, _)| *of == name);
        started
            .map(|(_, value)| value.clone())
            .or_else(|| env::var(name).ok())
    }

    /// Whether that PostgreSQL is one of the services, here or of `up`: nobody restarts another one.
    pub(crate) fn has_own_postgres(&self) -> Result<bool> {
        let Some(home) = self.variable(INSTANCE) else {
            return Ok(false);
        };
        let state = Home::at(home.into()).load()?;
        let own = state.and_then(|it| it.postgres).map(|it| it.url());
        Ok(own.is_some() && own == self.postgres_url())
    }

    /// Ends PostgreSQL without a word to its clients, as a crash does, and starts it again.
    pub(crate) fn restart_postgres(&self) -> Result<()> {
        self.chore(&["postgres", "restart", "--mode", "immediate"])
    }

    /// `kill` or `start` of one node of Kafka.
    pub(crate) fn kafka(&self, what: &str, node: u32) -> Result<()> {
        self.chore(&["kafka", what, &node.to_string()])
    }

    /// The command, for a shell, that takes `kill 1` and `start 1`: of a Kafka that was started
    /// here, never of one that somebody else has named.
    pub(crate) fn kafka_nodes(&self) -> Result<Option<String>> {
        let is_ours = self.variables.iter().any(|(name, _)| *name == KAFKA);
        let this = env::current_exe()?;
        Ok(is_ours.then(|| format!("{} services kafka", quoted(&this.display().to_string()))))
    }

    fn chore(&self, args: &[&str]) -> Result<()> {
        let mut command = Command::new(env::current_exe()?);
        self.name_to(&mut command);
        crate::shell::run(command.arg("services").args(args))
    }

    /// Tells a program of the tests where the services are.
    pub(crate) fn name_to(&self, command: &mut Command) {
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(mut attendant) = self.attendant.take() {
            drop(attendant.stdin.take());
            // It has said itself what it could not do.
            drop(attendant.wait());
        }
    }
}

/// Stops an instance once whoever started this process has ended.
pub(super) fn attend(home: &Home) -> Result<()> {
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    down(home)?;
    std::fs::remove_dir_all(home.path())
        .with_context(|| format!("removing {}", home.path().display()))
}

/// What runs the service; `None` where its variable is set, or where it cannot be had.
fn find<T>(
    variable: &str,
    service: Service,
    tally: &mut Tally,
    programs: impl FnOnce() -> Result<T>,
) -> Option<T> {
    if env::var_os(variable).is_some() {
        return None;
    }
    let required = env::var(REQUIRE).unwrap_or_default();
    programs()
        .map_err(|error| report(service, &error, &required, tally))
        .ok()
}

fn report(service: Service, error: &anyhow::Error, required: &str, tally: &mut Tally) {
    let name = match service {
        Service::Postgres => "postgres",
        Service::Kafka => "kafka",
    };
    let what = format!("services: {name}: {error:#}");
    let is_required = required.split(',').any(|one| one.trim() == name);
    if is_required || !error.is::<NotHere>() {
        tally.fail(what);
    } else {
        tally.skip(what);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has_failed(error: &anyhow::Error, required: &str) -> bool {
        let mut tally = Tally::default();
        report(Service::Kafka, error, required, &mut tally);
        tally.has_failed()
    }

    #[test]
    fn missing_service_is_a_skip_and_a_required_one_a_failure() {
        let error = NotHere("no Java").into();
        assert!(!has_failed(&error, ""));
        assert!(!has_failed(&error, "postgres"));
        assert!(has_failed(&error, "postgres, kafka"));
    }

    #[test]
    fn nodes_are_killed_of_a_kafka_that_was_started_here_and_of_no_other() {
        assert_eq!(Guard::default().kafka_nodes().unwrap(), None);
        let guard = Guard {
            attendant: None,
            variables: vec![(KAFKA, "127.0.0.1:1".to_owned())],
        };
        let command = guard.kafka_nodes().unwrap().unwrap();
        assert!(command.ends_with(" services kafka"), "{command}");
    }

    #[test]
    fn postgresql_that_somebody_else_has_named_is_not_restarted() {
        let home = tempfile::tempdir().unwrap();
        let state = r#"{ "directory": "d", "kafka": null, "postgres":
            { "programs": "p", "release": null, "directory": "d/postgres", "port": 20001 } }"#;
        std::fs::write(home.path().join("state.json"), state).unwrap();
        let instance = (INSTANCE, home.path().display().to_string());
        let own = "postgres://tombola@127.0.0.1:20001/postgres";
        for (url, is_own) in [(own, true), ("postgres://db.example/postgres", false)] {
            let guard = Guard {
                attendant: None,
                variables: vec![(POSTGRES, url.to_owned()), instance.clone()],
            };
            assert_eq!(guard.has_own_postgres().unwrap(), is_own, "{url}");
        }
    }

    #[test]
    fn jar_that_is_not_the_pinned_one_is_a_failure_anywhere() {
        assert!(has_failed(&anyhow::anyhow!("another checksum"), ""));
    }
}
