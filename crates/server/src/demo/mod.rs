//! `tombola demo`: the main job, end to end, on the embedded default. It plays
//! operator, winner and outside service through the calls that they use, and ends
//! with what was lost and what was paid twice. With `--crash` the server is a
//! process of its own that is killed with SIGKILL in mid-work, several times.

mod callers;
mod check;
mod crash;
mod ground;
mod people;
mod plan;
mod receiver;
mod report;
mod stage;
mod wire;

pub(crate) use report::Report;

use crate::app::{App, Purpose, ServeRoles};
use crate::client::Api;
use anyhow::Result;
use callers::{History, Pace, draw_all};
use check::{Found, check};
use ground::Ground;
use receiver::Receiver;
use serde_json::Value;
use stage::Stage;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use wire::{Call, Wire, patient};

/// What `demo` is asked for.
pub(crate) struct Options {
    pub(crate) draws: u32,
    pub(crate) users: u32,
    pub(crate) seed: u64,
    /// Where the data goes; a fresh temporary directory otherwise.
    pub(crate) data: Option<PathBuf>,
    /// The url of a database on the server of PostgreSQL to play on.
    pub(crate) postgres: Option<String>,
    /// Kill the server in mid-run.
    pub(crate) crash: bool,
}

/// Hears how far the demo has come.
pub(crate) trait Progress: Sync {
    /// Something began or is done, in a sentence.
    fn say(&self, sentence: &str);
    /// `done` of `all`, of the step named.
    fn at(&self, step: &str, done: u64, all: u64);
}

/// Plays the whole demo.
pub(crate) async fn run(options: &Options, progress: &dyn Progress) -> Result<Report> {
    #[expect(clippy::disallowed_methods, reason = "the demo reports real time")]
    let begun = Instant::now();
    let ground = Ground::make(options.data.as_deref(), options.postgres.as_deref()).await?;
    let played = play_on(&ground, options, progress).await;
    ground.remove().await?;
    let mut report = played?;
    report.seconds = begun.elapsed().as_secs_f64();
    Ok(report)
}

async fn play_on(ground: &Ground, options: &Options, progress: &dyn Progress) -> Result<Report> {
    let stage = Stage::read()?;
    let secret = receiver_secret();
    let receiver = Receiver::start(&secret).await?;
    progress.say(&format!(
        "{}; a webhook receiver listens on loopback",
        ground.about()
    ));
    let run = Play {
        ground,
        options,
        progress,
        stage,
        receiver: &receiver,
        secret,
    };
    let report = if options.crash {
        let mut server = crash::Server::start(ground).await?;
        let wire: Arc<dyn Wire> = Arc::new(Api::socket(ground.data.join("tombola.sock")));
        let played = play(&run, wire, Some(&mut server)).await;
        server.stop().await?;
        played?
    } else {
        let purpose = Purpose::Serve { migrate: true };
        let app = App::open_for(ground.config()?, purpose).await?;
        app.start(ServeRoles::all()).await?;
        let wire: Arc<dyn Wire> = Arc::new(Api::InProcess(app.router()));
        let played = play(&run, wire, None).await;
        app.stop().await;
        played?
    };
    receiver.close();
    Ok(report)
}

fn receiver_secret() -> String {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    // A secret of the demo guards nothing but the demo's own receiver.
    format!(
        "whsec_{}",
        BASE64_STANDARD.encode(b"tombola-demo-receiver-secret")
    )
}

/// What a run is played with.
struct Play<'a> {
    ground: &'a Ground,
    options: &'a Options,
    progress: &'a dyn Progress,
    stage: Stage,
    receiver: &'a Receiver,
    secret: String,
}

async fn play(
    play: &Play<'_>,
    wire: Arc<dyn Wire>,
    server: Option<&mut crash::Server<'_>>,
) -> Result<Report> {
    let Play {
        ground,
        options,
        progress,
        stage,
        receiver,
        secret,
    } = play;
    let campaign = stage.rules.slug.clone();
    stage.set(&wire, &receiver.url, secret).await?;
    progress.say(&format!(
        "campaign `{campaign}` is running: {} prizes",
        stage.rules.prizes.len()
    ));
    let plan = plan::asks(options.draws, options.users, options.seed);
    let drawn = draw(&wire, &campaign, plan, *progress, server).await?;
    progress.say("all draws are answered; waiting for what was won to be delivered");
    let history = &drawn.history;
    let tokens = people::claim_tokens(history)?;
    let most = std::sync::atomic::AtomicU64::new(1);
    people::deliver_all(&wire, &campaign, (&tokens, ground.patience()), &|left| {
        let all = most.fetch_max(left, Ordering::Relaxed).max(left);
        progress.at("delivered", all - left, all);
    })
    .await?;
    progress.say("everything is delivered; checking what callers and receiver wrote down");
    let found = check(&wire, &campaign, history, receiver).await?;
    let audit = patient(&wire, Call::get("/v1/audit?full=true")).await?;
    Ok(report(play, &drawn, found, audit))
}

/// What came of the drawing.
struct Drawing {
    history: History,
    kills: u64,
    took: Duration,
}

async fn draw(
    wire: &Arc<dyn Wire>,
    campaign: &str,
    plan: Vec<plan::Ask>,
    progress: &dyn Progress,
    server: Option<&mut crash::Server<'_>>,
) -> Result<Drawing> {
    let all = u64::try_from(plan.len())?;
    let pace = Arc::new(Pace::default());
    #[expect(clippy::disallowed_methods, reason = "the demo reports real time")]
    let begun = Instant::now();
    let drawing = draw_all(Arc::clone(wire), campaign, plan, Arc::clone(&pace));
    let watch = async {
        loop {
            let done = pace.done.load(Ordering::Relaxed);
            progress.at("drawn", done, all);
            if done >= all {
                return Ok::<_, anyhow::Error>(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let killing = async {
        match server {
            None => Ok(0),
            Some(server) => {
                crash::kill_while_drawing(server, &pace, all, &|kills| {
                    progress.say(&format!(
                        "kill {kills}: SIGKILL while callers waited and awards were on their way; restarted"
                    ));
                })
                .await
            }
        }
    };
    let (history, (), kills) = tokio::try_join!(drawing, watch, killing)?;
    Ok(Drawing {
        history,
        kills,
        took: begun.elapsed(),
    })
}

fn report(play: &Play<'_>, drawn: &Drawing, mut found: Found, audit: Value) -> Report {
    let Play {
        options,
        stage,
        receiver,
        ..
    } = play;
    let Drawing {
        history,
        kills,
        took,
    } = drawn;
    let answered = u64::try_from(history.drawn.len()).unwrap_or(u64::MAX);
    let refused = history.refused.values().sum();
    let state = |name: &str| found.states.get(name).copied().unwrap_or_default();
    let rules = &stage.rules;
    let prizes = rules
        .prizes
        .iter()
        .zip(stage.expected(&history.draws_of_users()))
        .map(|(prize, expected)| {
            let (won, delivered) = found.prizes.get(&prize.slug).copied().unwrap_or_default();
            report::PrizeLine {
                prize: prize.slug.clone(),
                kind: prize.kind().name().to_owned(),
                odds: tombola_core::campaign::odds::show_odds(prize.weight, rules.total),
                stock: prize.stock,
                expected,
                won,
                delivered,
            }
        })
        .collect();
    if audit["ok"] != true {
        found.problems.push("the audit is not clean".to_owned());
    }
    if options.crash && *kills < crash::KILLS_MIN {
        found.problems.push(format!(
            "only {kills} kills hit the server at work; {} are needed",
            crash::KILLS_MIN
        ));
    }
    let seconds = took.as_secs_f64();
    Report {
        draws: u64::from(options.draws),
        answered,
        refused,
        refusals: history.refused.clone(),
        wins: found.wins,
        nothing: answered - found.wins,
        delivered: state("delivered"),
        held: state("held"),
        dead: state("dead"),
        cancelled: state("cancelled"),
        lost: found.lost,
        double: found.double,
        retries: receiver.read(receiver::Ledger::repeats),
        unknown: receiver.read(receiver::Ledger::unknown),
        kills: *kills,
        seconds,
        draws_per_second: f64::from(u32::try_from(answered).unwrap_or(u32::MAX))
            / seconds.max(1e-9),
        seed: options.seed,
        prizes,
        fallback: stage.fallback().map(|prize| prize.slug.clone()),
        audit,
        problems: found.problems,
    }
}
