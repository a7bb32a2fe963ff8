//! `bench http`: draws over HTTP, with keys, limits, metrics and logs on, by the
//! real server on SQLite, while the generator runs on the same cores. Beside it in
//! the same run: the desk without HTTP (`bench draw`'s contender), and an empty
//! axum handler under the same generator. Then three times that rate is offered
//! over 1,024 connections: what is answered is right, the rest is turned away, and
//! the server is itself again at once.

use crate::desk::{self, Contender, key_of, user_of};
use crate::load::{Plan, run as load};
use crate::report::{self, Measured};
use crate::wire::{Connection, request};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

const CONNECTIONS: usize = 128;
const CONNECTIONS_OVER: usize = 1024;
const FLOOR_RATE: f64 = 15_000.0;
const FLOOR_OF_DESK: f64 = 0.50;
const P99_MAX: Duration = Duration::from_millis(30);
/// After an overload, of the rate before it.
const FLOOR_RECOVERED: f64 = 0.70;
const MEMORY_MB_MAX: u64 = 200;

/// `http [--seconds N] [--dir DIR]`
pub(crate) fn run(mut args: impl Iterator<Item = String>) -> Result<()> {
    let (mut seconds, mut dir) = (5, "target".to_owned());
    while let Some(flag) = args.next() {
        let value = args.next().unwrap_or_default();
        match flag.as_str() {
            "--seconds" => seconds = value.parse()?,
            "--dir" => dir = value,
            other => anyhow::bail!("`{other}` is not known; use --seconds, --dir"),
        }
    }
    let home = tempfile::tempdir_in(&dir)?;
    let fsyncs = report::fsyncs_per_second(home.path())?;
    println!("fsync: {fsyncs:.0}/s; synchronous=FULL; {seconds} s each after 1 s of warm-up");
    let plan = |callers| Plan {
        callers,
        warm_up: Duration::from_secs(1),
        measured: Duration::from_secs(seconds),
    };
    let runtime = Runtime::new()?;
    let empty = runtime.block_on(empty_handler(&plan(CONNECTIONS)))?;
    let desk = runtime.block_on(desk(home.path(), &plan(CONNECTIONS)))?;
    let server = Served::start(home.path())?;
    let numbers = Arc::new(AtomicU64::new(1));
    let callers = plan(CONNECTIONS);
    let closed = |name| closed_loop(name, &server, &callers, &numbers);
    let draws = runtime.block_on(closed("draws over HTTP"))?;
    let offered = draws.rate() * 3.0;
    let over = runtime.block_on(open_loop(&server, offered, seconds, &numbers))?;
    let after = runtime.block_on(closed("draws after the overload"))?;
    let memory = server.memory_peak_mb()?;
    let answered = numbers_of(&draws) + over.drawn + numbers_of(&after);
    let rows = vec![empty, desk, draws, after];
    report::table(&rows);
    println!("{over}");
    println!("server: at most {memory} MB");
    let drawn = server.stop_and_audit()?;
    // Warm-ups are drawn and not measured.
    ensure!(
        drawn >= answered,
        "{answered} draws were answered, {drawn} are in the database"
    );
    let extra = json!({
        "fsyncs_per_second": fsyncs.round(), "memory_peak_mb": memory,
        "offered_per_second": offered.round(), "overload": over.json(),
    });
    report::keep("http", &rows, &extra)?;
    check_floors(&rows, &over, memory)
}

fn numbers_of(measured: &Measured) -> u64 {
    measured.draws
}

fn check_floors(rows: &[Measured], over: &Overload, memory: u64) -> Result<()> {
    let [empty, desk, draws, after] = rows else {
        anyhow::bail!("four rows are measured");
    };
    let of = |other: &Measured| draws.rate() / other.rate();
    println!(
        "draws over HTTP: {:.0} % of the desk, {:.0} % of an empty handler",
        of(desk) * 100.0,
        of(empty) * 100.0
    );
    ensure!(draws.rate() >= FLOOR_RATE, "below {FLOOR_RATE} draws/s");
    ensure!(
        of(desk) >= FLOOR_OF_DESK,
        "below {FLOOR_OF_DESK} of the desk"
    );
    ensure!(draws.wait(99) < P99_MAX, "p99 is over {P99_MAX:?}");
    ensure!(
        over.other == 0,
        "an overload was answered with other errors"
    );
    ensure!(over.turned_away > 0, "an overload was not turned away");
    ensure!(
        after.rate() >= draws.rate() * FLOOR_RECOVERED,
        "the server did not recover"
    );
    ensure!(memory < MEMORY_MB_MAX, "the server took {memory} MB");
    Ok(())
}

async fn desk(home: &Path, plan: &Plan) -> Result<Measured> {
    let dir = tempfile::tempdir_in(home)?;
    let contender = Contender::start(dir.path(), None).await?;
    let measured = load("the desk, no HTTP", plan, contender.ask()).await;
    contender.stop();
    measured
}

/// The same generator against a handler that reads JSON and answers JSON.
async fn empty_handler(plan: &Plan) -> Result<Measured> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("empty-handler")
        .stdout(Stdio::piped())
        .spawn()?;
    let address = first_line(&mut child)?;
    let served = Served {
        child,
        address,
        key: String::new(),
        data: PathBuf::new(),
    };
    let numbers = Arc::new(AtomicU64::new(1));
    closed_loop("an empty axum handler", &served, plan, &numbers).await
}

/// The process of [`empty_handler`].
pub(crate) fn serve_empty() -> Result<()> {
    Runtime::new()?.block_on(async {
        let handler = async |axum::Json(body): axum::Json<Value>| {
            (
                axum::http::StatusCode::CREATED,
                axum::Json(json!({ "draws": [{ "user": body["user"] }] })),
            )
        };
        let path = "/v1/campaigns/bench/draws";
        let router = axum::Router::new().route(path, axum::routing::post(handler));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        axum::serve(listener, router).await?;
        Ok(())
    })
}

fn first_line(child: &mut Child) -> Result<String> {
    let stdout = child.stdout.take().context("stdout is piped")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

/// A server in a process of its own, ended with it.
struct Served {
    child: Child,
    address: String,
    key: String,
    data: PathBuf,
}

impl Drop for Served {
    fn drop(&mut self) {
        let ended = self.child.kill().and_then(|()| self.child.wait());
        if let Err(error) = ended {
            println!("the server was not ended: {error}");
        }
    }
}

/// The program beside this one.
fn tombola() -> Result<Command> {
    let program = std::env::current_exe()?.with_file_name("tombola");
    ensure!(
        program.exists(),
        "{} is not there; `cargo xtask bench http` builds it",
        program.display()
    );
    Ok(Command::new(program))
}

fn said(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {stderr}");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

impl Served {
    fn start(home: &Path) -> Result<Self> {
        let (data, campaign) = (home.join("data"), home.join("bench.toml"));
        std::fs::write(&campaign, desk::campaign(desk::PRIZES))?;
        let of_data = || -> Result<Command> {
            let mut command = tombola()?;
            command.arg("--data").arg(&data);
            Ok(command)
        };
        let apply = ["campaign", "apply", "--start"];
        said(of_data()?.args(apply).arg(&campaign))?;
        let create = ["key", "create", "--role", "client", "--client", "bench"];
        let key = said(of_data()?.args(create))?;
        // Logs are on and go where nobody waits for them.
        let log = std::fs::File::create(home.join("serve.log"))?;
        let mut child = of_data()?
            .args(["serve", "--listen", "127.0.0.1:0", "--json"])
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()?;
        let document: Value = serde_json::from_str(&first_line(&mut child)?)?;
        let address = document["address"].as_str().context("an address")?;
        Ok(Self {
            address: address.to_owned(),
            child,
            key,
            data,
        })
    }

    fn memory_peak_mb(&self) -> Result<u64> {
        report::memory_peak_mb_of(self.child.id()).context("the system tells memory")
    }

    /// Draws in the database, recounted.
    fn stop_and_audit(self) -> Result<u64> {
        let data = self.data.clone();
        drop(self);
        let audit = said(tombola()?.arg("--data").arg(data).args(["audit", "--json"]))?;
        let audit: Value = serde_json::from_str(&audit)?;
        ensure!(audit["ok"] == true, "the audit found something: {audit}");
        audit["campaigns"][0]["draws"].as_u64().context("draws")
    }
}

/// Every connection asks, waits for its answer and asks again.
async fn closed_loop(
    name: &'static str,
    server: &Served,
    plan: &Plan,
    numbers: &Arc<AtomicU64>,
) -> Result<Measured> {
    let begun = Instant::now();
    let from = begun + plan.warm_up;
    let until = from + plan.measured;
    let mut connections = JoinSet::new();
    for _ in 0..plan.callers {
        let mut connection = Connection::open(&server.address).await?;
        let (numbers, key) = (Arc::clone(numbers), server.key.clone());
        connections.spawn(async move {
            let mut waits = Vec::new();
            loop {
                let asked = Instant::now();
                if asked >= until {
                    return Ok::<_, anyhow::Error>(waits);
                }
                let number = numbers.fetch_add(1, Ordering::Relaxed);
                let request = request(&key, &key_of(number), &user_of(number));
                let status = connection.answer(&request).await?;
                ensure!(status == 201, "a draw was answered {status}");
                let answered = Instant::now();
                if answered >= from && answered < until {
                    waits.push(answered - asked);
                }
            }
        });
    }
    let mut waits = Vec::new();
    while let Some(connection) = connections.join_next().await {
        waits.extend(connection??);
    }
    waits.sort_unstable();
    Ok(Measured {
        name: name.to_owned(),
        callers: plan.callers,
        draws: u64::try_from(waits.len())?,
        took: plan.measured,
        waits,
    })
}

/// What came of more than the server can do.
#[derive(Debug, Default)]
struct Overload {
    offered: u64,
    drawn: u64,
    turned_away: u64,
    other: u64,
    /// Of those turned away, sorted.
    waits: Vec<Duration>,
    took: Duration,
}

impl Overload {
    fn add(&mut self, other: Self) {
        self.offered += other.offered;
        self.drawn += other.drawn;
        self.turned_away += other.turned_away;
        self.other += other.other;
        self.waits.extend(other.waits);
    }

    fn p99_ms(&self) -> f64 {
        let place = (self.waits.len() * 99 / 100).min(self.waits.len().saturating_sub(1));
        self.waits.get(place).map_or(0.0, Duration::as_secs_f64) * 1e3
    }

    fn json(&self) -> Value {
        json!({
            "offered": self.offered, "drawn": self.drawn, "turned_away": self.turned_away,
            "other": self.other, "turned_away_p99_ms": self.p99_ms(),
        })
    }
}

impl std::fmt::Display for Overload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "overload: {} asked in {:.1} s over {CONNECTIONS_OVER} connections, {} drawn, {} turned away with 503 \
             (p99 {:.1} ms), {} other",
            self.offered,
            self.took.as_secs_f64(),
            self.drawn,
            self.turned_away,
            self.p99_ms(),
            self.other
        )
    }
}

/// Requests come at a rate of their own, whatever the answers: each connection has
/// its share of the instants, and one that is late asks at once.
async fn open_loop(
    server: &Served,
    per_second: f64,
    seconds: u64,
    numbers: &Arc<AtomicU64>,
) -> Result<Overload> {
    let apart = Duration::from_secs_f64(f64::from(u32::try_from(CONNECTIONS_OVER)?) / per_second);
    let begun = Instant::now() + Duration::from_millis(200);
    let until = begun + Duration::from_secs(seconds);
    let mut connections = JoinSet::new();
    for place in 0..CONNECTIONS_OVER {
        let address = server.address.clone();
        let (numbers, key) = (Arc::clone(numbers), server.key.clone());
        let share = apart.mul_f64(f64::from(u32::try_from(place)?) / 1024.0);
        connections.spawn(async move {
            let mut connection = Connection::open(&address).await?;
            let mut of_this = Overload::default();
            let mut next = begun + share;
            while next < until {
                tokio::time::sleep_until(next.into()).await;
                next += apart;
                let asked = Instant::now();
                if asked >= until {
                    break;
                }
                let number = numbers.fetch_add(1, Ordering::Relaxed);
                let request = request(&key, &key_of(number), &user_of(number));
                of_this.offered += 1;
                match connection.answer(&request).await? {
                    201 => of_this.drawn += 1,
                    503 => {
                        of_this.turned_away += 1;
                        of_this.waits.push(asked.elapsed());
                    }
                    _ => of_this.other += 1,
                }
            }
            Ok::<_, anyhow::Error>(of_this)
        });
    }
    let mut whole = Overload::default();
    while let Some(connection) = connections.join_next().await {
        whole.add(connection??);
    }
    whole.waits.sort_unstable();
    whole.took = begun.elapsed();
    Ok(whole)
}
