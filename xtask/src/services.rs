//! `cargo xtask services`: a PostgreSQL and a Kafka of this machine for tests and for trying things
//! out. They run until `down`, listen on 127.0.0.1 alone, and keep nothing afterwards.
//!
//! Standard output is for the shell that evaluates it; everything else goes to standard error.

use std::env;
use std::fmt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand, ValueEnum};

use crate::shell::{Watch, Workspace};

mod guard;
mod jars;
mod kafka;
mod metadata;
mod postgres;
mod process;
mod state;

pub(crate) use guard::Guard;
use kafka::Kafka;
use postgres::Postgres;
pub(crate) use postgres::Release as PostgresRelease;
use state::{Home, State};

/// Tells the tests where PostgreSQL is.
const POSTGRES: &str = "TOMBOLA_TEST_POSTGRES";
/// Tells the tests where Kafka is.
const KAFKA: &str = "TOMBOLA_TEST_KAFKA";
/// Tells the tests by which class path clients in Java run.
const JAVA: &str = "TOMBOLA_TEST_JAVA";
/// Tells the tests where Kafka is behind TLS and a password.
const SECURE_KAFKA: &str = "TOMBOLA_TEST_KAFKA_SECURE";
/// Tells the tests by which certificate that is to be trusted.
const KAFKA_CA: &str = "TOMBOLA_TEST_KAFKA_CA";
/// Tells commands which instance is meant.
const INSTANCE: &str = "TOMBOLA_TEST_SERVICES";

#[derive(Debug, Subcommand)]
pub(crate) enum Services {
    /// Start them and print what a shell should export: `eval "$(cargo xtask services up)"`
    Up(Up),
    /// Stop what `up` has started, and remove what it wrote
    Down,
    /// Kill or start single nodes of Kafka
    #[command(subcommand)]
    Kafka(OfKafka),
    /// Start PostgreSQL anew
    #[command(subcommand)]
    Postgres(OfPostgres),
    /// Stop an instance when standard input ends
    #[command(hide = true)]
    Attend { home: PathBuf },
}

#[derive(Args, Debug)]
pub(crate) struct Up {
    /// Start this one and not the other
    #[arg(long, value_enum)]
    only: Option<Service>,
    #[command(flatten)]
    which: WhichArgs,
}

#[derive(Args, Clone, Debug, Default)]
pub(crate) struct WhichArgs {
    /// A pinned release, or its beginning: `14` [default: what is installed]
    #[arg(long, value_name = "VERSION")]
    postgres_version: Option<String>,
    /// Of one or of three nodes [default: 1]
    #[arg(long, value_name = "N", value_parser = parse_nodes)]
    kafka_nodes: Option<u32>,
    /// A pinned release, or its beginning: `3.9` [default: the newest]
    #[arg(long, value_name = "VERSION")]
    kafka_version: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Service {
    Postgres,
    Kafka,
}

#[derive(Debug, Subcommand)]
pub(crate) enum OfKafka {
    /// End a node at once, as a crash does
    Kill { node: u32 },
    /// Start a node that was killed, and wait until it is back
    Start { node: u32 },
}

#[derive(Debug, Subcommand)]
pub(crate) enum OfPostgres {
    /// Stop it, start it and wait until it takes connections
    Restart {
        #[arg(long, value_enum, default_value = "fast")]
        mode: postgres::Mode,
    },
}

/// What this machine does not have, which is no fault of the tree.
#[derive(Debug)]
struct NotHere(&'static str);

impl fmt::Display for NotHere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for NotHere {}

/// Whether the program is here: it says its version when it is asked to like this.
fn answers(program: &str, version: &str) -> bool {
    let output = Command::new(program).arg(version).output();
    output.is_ok_and(|output| output.status.success())
}

/// Whether it says that this machine has not what is needed.
pub(crate) fn is_missing(error: &anyhow::Error) -> bool {
    error.is::<NotHere>()
}

pub(crate) fn run(workspace: &Workspace, chore: &Services) -> Result<()> {
    let home = Home::at(workspace.target().join("xtask").join("services"));
    match chore {
        Services::Up(args) => print_exports(&home, &up(&home, args)?),
        Services::Down => {
            down(&home)?;
            println!("unset {POSTGRES} {KAFKA} {SECURE_KAFKA} {KAFKA_CA} {JAVA} {INSTANCE}");
        }
        Services::Kafka(OfKafka::Kill { node }) => kafka_of(home)?.kill(*node)?,
        Services::Kafka(OfKafka::Start { node }) => kafka_of(home)?.start(*node)?,
        Services::Postgres(OfPostgres::Restart { mode }) => postgres_of(home)?.restart(*mode)?,
        Services::Attend { home } => guard::attend(&Home::at(home.clone()))?,
    }
    Ok(())
}

fn up(home: &Home, args: &Up) -> Result<State> {
    let _lock = home.lock()?;
    if let Some(state) = home.load()? {
        state.must_be(args)?;
        state.report_ended()?;
        return Ok(state);
    }
    let wants = |service| args.only.is_none_or(|only| only == service);
    let wanted = Wanted {
        postgres: wants(Service::Postgres)
            .then(|| args.which.find_postgres())
            .transpose()?,
        kafka: wants(Service::Kafka)
            .then(|| args.which.find_kafka())
            .transpose()?,
    };
    if let Some((kafka, _)) = &wanted.kafka
        && let Err(error) = &kafka.clients
    {
        eprintln!("without clients in Java: {error:#}");
    }
    begin(home, &wanted)
}

/// Programs that are here, and how many nodes of Kafka.
struct Wanted {
    postgres: Option<postgres::Programs>,
    kafka: Option<(kafka::Programs, u32)>,
}

impl WhichArgs {
    fn find_postgres(&self) -> Result<postgres::Programs> {
        postgres::Programs::find(self.postgres_version.as_deref())
    }

    fn find_kafka(&self) -> Result<(kafka::Programs, u32)> {
        let programs = kafka::Programs::find(self.kafka_version.as_deref())?;
        Ok((programs, self.kafka_nodes.unwrap_or(1)))
    }
}

/// Starts all or, where one fails, none.
fn begin(home: &Home, wanted: &Wanted) -> Result<State> {
    let watch = Watch::start();
    let nodes = wanted.kafka.as_ref().map_or(0, |(_, nodes)| *nodes);
    let ports = state::free_ports(1 + Kafka::ports(nodes))?;
    let directory = home.new_directory()?;
    let postgres = wanted.postgres.as_ref();
    let kafka = wanted.kafka.as_ref();
    let state = State {
        postgres: postgres
            .map(|programs| Postgres::new(programs, directory.join("postgres"), ports[0])),
        kafka: kafka.map(|(programs, _)| Kafka::new(programs, &directory, &ports[1..])),
        directory,
    };
    home.save(&state)?;
    if let Err(error) = state.start(wanted) {
        state.stop()?;
        home.remove(&state)?;
        return Err(error);
    }
    eprintln!(
        "services are up after {:.1} s",
        watch.elapsed().as_secs_f64()
    );
    Ok(state)
}

fn down(home: &Home) -> Result<()> {
    let _lock = home.lock()?;
    let Some(state) = home.load()? else {
        eprintln!("no services are running");
        return Ok(());
    };
    let watch = Watch::start();
    state.stop()?;
    home.remove(&state)?;
    eprintln!(
        "services are down after {:.1} s",
        watch.elapsed().as_secs_f64()
    );
    Ok(())
}

impl State {
    /// Kafka's nodes come up while PostgreSQL does.
    fn start(&self, programs: &Wanted) -> Result<()> {
        if let (Some(kafka), Some((programs, _))) = (&self.kafka, &programs.kafka) {
            kafka.create(programs)?;
        }
        if let (Some(postgres), Some(programs)) = (&self.postgres, &programs.postgres) {
            postgres.create(programs)?;
        }
        self.kafka.as_ref().map_or(Ok(()), Kafka::wait)
    }

    fn stop(&self) -> Result<()> {
        self.kafka.as_ref().map_or(Ok(()), Kafka::stop)?;
        self.postgres.as_ref().map_or(Ok(()), Postgres::stop)
    }

    /// Every server by its name, and whether it is alive.
    fn servers(&self) -> Result<Vec<(String, bool)>> {
        let mut servers = Vec::new();
        if let Some(postgres) = &self.postgres {
            servers.push(("PostgreSQL".to_owned(), postgres.process()?));
        }
        if let Some(kafka) = &self.kafka {
            let nodes = kafka.processes()?.into_iter();
            servers.extend(nodes.map(|(id, node)| (format!("Kafka's node {id}"), node)));
        }
        let is_alive = |process: Option<process::Process>| process.is_some_and(|it| it.is_alive());
        Ok(servers
            .into_iter()
            .map(|(name, process)| (name, is_alive(process)))
            .collect())
    }

    /// Says what was killed, or is gone since the machine was started anew.
    fn report_ended(&self) -> Result<()> {
        let servers = self.servers()?;
        for (name, _) in servers.iter().filter(|(_, is_alive)| !is_alive) {
            eprintln!("{name} is not running");
        }
        if servers.iter().all(|(_, is_alive)| !is_alive) {
            bail!("all servers have ended: `cargo xtask services down` removes what they wrote");
        }
        Ok(())
    }

    /// What runs is what is asked for, or more.
    fn must_be(&self, args: &Up) -> Result<()> {
        let wants = |service| args.only.is_none_or(|only| only == service);
        let WhichArgs {
            postgres_version,
            kafka_nodes,
            kafka_version,
        } = &args.which;
        let has_postgres = match &self.postgres {
            Some(postgres) => postgres.is(postgres_version.as_deref())?,
            None => false,
        };
        let has_kafka = match &self.kafka {
            Some(kafka) => kafka.is(*kafka_nodes, kafka_version.as_deref())?,
            None => false,
        };
        if wants(Service::Postgres) && !has_postgres || wants(Service::Kafka) && !has_kafka {
            bail!("other services are running: `cargo xtask services down` first");
        }
        Ok(())
    }

    fn variables(&self, home: &Home) -> Vec<(&'static str, String)> {
        let postgres = self.postgres.as_ref().map(|it| (POSTGRES, it.url()));
        let kafka = self.kafka.iter().flat_map(|it| {
            [
                (KAFKA, it.servers()),
                (SECURE_KAFKA, it.secure_servers()),
                (KAFKA_CA, it.authority.display().to_string()),
            ]
        });
        let clients = self.kafka.as_ref().and_then(Kafka::clients);
        let instance = (INSTANCE, home.path().display().to_string());
        postgres
            .into_iter()
            .chain(kafka)
            .chain(clients.map(|it| (JAVA, it)))
            .chain([instance])
            .collect()
    }
}

fn print_exports(home: &Home, state: &State) {
    for (name, value) in state.variables(home) {
        println!("export {name}={}", quoted(&value));
    }
}

/// As a shell reads it back.
fn quoted(value: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/:@.,_-".contains(letter);
    if value.chars().all(is_plain) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', r"'\''"))
}

/// What runs in the instance that is meant: that of `cargo xtask test` for its tests, else that of
/// `up`.
fn running(home: Home) -> Result<State> {
    let home = env::var_os(INSTANCE).map_or(home, |path| Home::at(path.into()));
    home.load()?
        .context("no services are running: `cargo xtask services up` first")
}

fn kafka_of(home: Home) -> Result<Kafka> {
    running(home)?
        .kafka
        .context("Kafka is not among the services that run: `cargo xtask services down`, then `up`")
}

fn postgres_of(home: Home) -> Result<Postgres> {
    running(home)?.postgres.context(
        "PostgreSQL is not among the services that run: `cargo xtask services down`, then `up`",
    )
}

fn parse_nodes(text: &str) -> Result<u32, String> {
    match text {
        "1" => Ok(1),
        "3" => Ok(3),
        _ => Err("a cluster has 1 node or 3".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn with_kafka_alone() -> State {
        State {
            directory: "/x".into(),
            postgres: None,
            kafka: Some(Kafka::example(Path::new("/x"))),
        }
    }

    fn asked(only: Option<Service>, kafka_nodes: Option<u32>) -> Up {
        Up {
            only,
            which: WhichArgs {
                kafka_nodes,
                ..WhichArgs::default()
            },
        }
    }

    #[test]
    fn exports_name_what_runs_and_nothing_else() {
        let variables = with_kafka_alone().variables(&Home::at("/home of/it".into()));
        let named: Vec<_> = variables.iter().map(|(name, _)| *name).collect();
        assert_eq!(named, [KAFKA, SECURE_KAFKA, KAFKA_CA, JAVA, INSTANCE]);
        let servers = "127.0.0.1:21001,127.0.0.1:21004,127.0.0.1:21007";
        assert_eq!(variables[0].1, servers);
        assert_eq!(variables[3].1, "/x/clients.jar");
        assert_eq!(variables[4].1, "/home of/it");
    }

    #[test]
    fn value_with_odd_letters_reaches_the_shell_unchanged() {
        let plain = "postgres://tombola@127.0.0.1:1/postgres";
        assert_eq!(quoted(plain), plain);
        assert_eq!(quoted("a b'c"), r"'a b'\''c'");
    }

    #[test]
    fn running_services_are_given_again_unless_others_are_asked_for() {
        let state = with_kafka_alone();
        assert!(state.must_be(&asked(Some(Service::Kafka), None)).is_ok());
        assert!(state.must_be(&asked(Some(Service::Kafka), Some(3))).is_ok());
        assert!(
            state
                .must_be(&asked(Some(Service::Kafka), Some(1)))
                .is_err()
        );
        let error = state.must_be(&asked(None, None)).unwrap_err();
        assert!(error.to_string().contains("services down"), "{error}");
    }

    #[test]
    fn clusters_have_one_node_or_three() {
        assert_eq!(parse_nodes("3"), Ok(3));
        assert!(parse_nodes("2").is_err());
    }
}
