//! `cargo xtask scale`: the whole at the size at which it is run: PostgreSQL, three nodes of Kafka,
//! three processes with the role `api`, three with `worker`, two with `rescue`, and callers over
//! HTTP; meanwhile a broker is killed, PostgreSQL restarts without a word, a fourth worker joins
//! and leaves, and processes are killed. Afterwards nothing may be lost, nothing may have
//! happened twice, and the audit has to be clean.

use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::{Value, json};

use crate::services::Guard;
use crate::shell::{self, Watch, Workspace};
use callers::{History, Load, Pace};
use check::Found;
use faults::{Done, Planned, Victims};
use plan::{Asks, CAMPAIGN, ENDPOINT, Sizes};
use receiver::Receiver;
use town::{Town, joined, lock};
use wire::Call;

mod callers;
mod check;
mod faults;
mod plan;
mod receiver;
mod town;
mod wire;

/// How long a load may take, whatever its size, and for each thousand draws.
const LOAD_DEADLINE: Duration = Duration::from_mins(4);
const EACH_THOUSAND: Duration = Duration::from_secs(10);
/// Leases have to end, and what was published to a broker that died is published again.
const SETTLING_DEADLINE: Duration = Duration::from_mins(6);
const LOOK: Duration = Duration::from_millis(500);

#[derive(Args, Clone, Debug)]
pub(crate) struct ScaleArgs {
    /// Draws to be answered [default: 200000; short: 8000]
    #[arg(long, value_name = "N")]
    draws: Option<u64>,
    /// Every fault in a load of seconds; a minute more for servers and for leases that have to end
    #[arg(long)]
    short: bool,
    /// Brings requests and faults of an earlier run back
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

impl ScaleArgs {
    pub(crate) fn short() -> Self {
        Self {
            draws: None,
            short: true,
            seed: None,
        }
    }

    fn sizes(&self) -> Sizes {
        let usual = if self.short { 8_000 } else { 200_000 };
        Sizes::of(self.draws.unwrap_or(usual))
    }

    /// The fourth worker joins and leaves every two seconds for a minute.
    fn faults(&self, seed: u64, draws: u64) -> Vec<Planned> {
        let extent = if self.short {
            faults::Extent {
                kills: 8,
                // Early: what a killed worker had in hand waits for the end of its lease.
                until: 230,
                flaps: 2,
            }
        } else {
            faults::Extent {
                kills: 32,
                until: 930,
                flaps: 15,
            }
        };
        faults::plan(seed, draws, extent)
    }
}

/// Builds the release binary and runs.
pub(crate) fn run(workspace: &Workspace, args: &ScaleArgs) -> Result<()> {
    let build = ["build", "--release", "-p", "tombola-server", "--bin"];
    shell::run(workspace.cargo(build).arg("tombola"))?;
    let summary = play(workspace, args)?;
    println!("scale: {summary}");
    Ok(())
}

/// One run with the release binary, which was built before; what it says at the end.
pub(crate) fn play(workspace: &Workspace, args: &ScaleArgs) -> Result<String> {
    let seed = args.seed.unwrap_or_else(fresh_seed);
    let whole = Watch::start();
    let binary = workspace.target().join("release").join("tombola");
    let directory = workspace.scratch(if args.short { "scale-short" } else { "scale" })?;
    println!("scale: seed {seed}, logs in {}", directory.display());
    // Held to the end: dropping it stops them.
    let services = Guard::cluster(workspace)?;
    let run = Run {
        sizes: args.sizes(),
        faults: args.faults(seed, args.sizes().draws),
        seed,
        is_short: args.short,
        services: &services,
    };
    let summary = run.on(&binary, &directory)?;
    Ok(format!(
        "{summary}, seed {seed}, {:.0} s",
        whole.elapsed().as_secs_f64()
    ))
}

/// A new seed for each run; it is printed, and `--seed` brings the run back.
fn fresh_seed() -> u64 {
    RandomState::new().build_hasher().finish() % 1_000_000_000
}

struct Run<'a> {
    sizes: Sizes,
    faults: Vec<Planned>,
    seed: u64,
    is_short: bool,
    services: &'a Guard,
}

impl Run<'_> {
    fn on(&self, binary: &Path, directory: &Path) -> Result<String> {
        let town = Town::make(binary, directory, self.services)?;
        town.begin()?;
        let receiver = Receiver::start()?;
        set(&town, self.sizes, &receiver)?;

        let (watch, pace, done) = (Watch::start(), Pace::default(), Done::default());
        let victims = Victims {
            town: &town,
            services: self.services,
            pace: &pace,
            watch: &watch,
            done: &done,
            receiver: &receiver,
        };
        let history = self.draw(victims)?;
        let drawn_after = watch.elapsed();
        let is_settled = settle(&town)?;
        let settled_after = watch.elapsed();

        let ledger = lock(&receiver.ledger);
        let mut found = check::check(&town, self.sizes, &history, &ledger)?;
        if !is_settled {
            found.problem(format!("awards are unfinished after {SETTLING_DEADLINE:?}"));
        }
        let audit = town.operate(&["audit", "--full"])?;
        let is_clean = audit["ok"] == true;
        if !is_clean {
            found.problem(format!("the audit says {audit:#}"));
        }
        // In a short run the workers are killed all at once, and the group takes its time.
        if !self.is_short && done.paid_without_a_broker() == 0 {
            found.problem("nothing was delivered while a broker was away".to_owned());
        }
        let topic = town.operate(&["topic", "describe"])?;
        fs::write(directory.join("topic.json"), format!("{topic:#}"))?;
        let copies = check::topic(&topic, &mut found);

        print_table(self.sizes, &history, &found);
        let draws = history.draws.len() as u64;
        println!(
            "{draws} draws in {:.1} s ({}/s), {} requests refused, {} made again; all delivered {:.1} s later",
            drawn_after.as_secs_f64(),
            draws / drawn_after.as_secs().max(1),
            history.refused.len(),
            pace.again.load(Ordering::Relaxed),
            settled_after.saturating_sub(drawn_after).as_secs_f64(),
        );
        println!("{copies} messages on the topic");
        println!(
            "{done}, {} calls of the receiver, {} with an unknown outcome",
            ledger.calls(),
            ledger.unknown
        );
        for problem in &found.problems {
            println!("amiss: {problem}");
        }
        let summary = format!(
            "{draws} draws, {} awards, {} lost, {} double, audit {}",
            history.wins().count(),
            found.lost,
            found.double,
            if is_clean { "clean" } else { "not clean" }
        );
        ensure!(
            found.is_clean(),
            "{summary}; logs are in {}",
            directory.display()
        );
        town.end()?;
        Ok(summary)
    }

    /// The load and the faults beside it.
    fn draw(&self, victims: Victims<'_>) -> Result<History> {
        let load = Load {
            town: victims.town,
            sizes: self.sizes,
            pace: victims.pace,
            watch: victims.watch,
            deadline: LOAD_DEADLINE + EACH_THOUSAND * u32::try_from(self.sizes.draws / 1_000)?,
            asks: Mutex::new(Asks::new(self.seed, self.sizes.users)),
        };
        thread::scope(|scope| {
            let faults = scope.spawn(|| victims.suffer(&self.faults));
            let history = load.run();
            // A fault that could not be made is why the callers gave up.
            joined(faults.join()).context("making the faults")?;
            history
        })
    }
}

/// Puts endpoint, campaign and codes in, and starts the campaign.
fn set(town: &Town, sizes: Sizes, receiver: &Receiver) -> Result<()> {
    let endpoint = json!({
        "name": ENDPOINT,
        "url": receiver.url,
        "idempotent": true,
        "conflict_means_delivered": true,
        "timeout": "1s",
        "concurrency": 16,
        "allow_private": true,
    });
    let put = |path: &str, body: &Value| {
        let body = body.to_string();
        town.call(Call {
            method: "PUT",
            ..Call::post(path, "", &body)
        })
    };
    put(&format!("/v1/endpoints/{ENDPOINT}"), &endpoint)?;
    let campaign = format!("/v1/campaigns/{CAMPAIGN}");
    put(&campaign, &sizes.campaign())?;
    let codes = sizes.codes();
    town.call(Call {
        content_type: "text/csv",
        ..Call::post(
            &format!("{campaign}/prizes/voucher/codes"),
            "scale-codes",
            &codes,
        )
    })?;
    for to in ["submit", "approve", "start"] {
        let body = json!({ "to": to }).to_string();
        town.call(Call::post(
            &format!("{campaign}/transitions"),
            &format!("scale-{to}"),
            &body,
        ))?;
    }
    Ok(())
}

/// Waits until nothing is unfinished; false when patience has ended.
fn settle(town: &Town) -> Result<bool> {
    let watch = Watch::start();
    loop {
        let shown = town.call(Call::get(&format!("/v1/campaigns/{CAMPAIGN}")))?;
        let shown = shown.json();
        let prizes = shown["prizes"]
            .as_array()
            .context("a campaign without prizes")?;
        let unfinished: u64 = prizes
            .iter()
            .filter_map(|it| it["unfinished"].as_u64())
            .sum();
        if unfinished == 0 {
            return Ok(true);
        }
        if watch.elapsed() > SETTLING_DEADLINE {
            return Ok(false);
        }
        thread::sleep(LOOK);
    }
}

fn print_table(sizes: Sizes, history: &History, found: &Found) {
    println!(
        "{:<10}{:>10}{:>10}{:>12}",
        "prize", "stock", "won", "delivered"
    );
    for (prize, won) in history.won() {
        let stock = match prize {
            "phone" => sizes.phones.to_string(),
            "voucher" => sizes.vouchers.to_string(),
            _ => "-".to_owned(),
        };
        let delivered = found.delivered.get(prize).copied().unwrap_or_default();
        println!("{prize:<10}{stock:>10}{won:>10}{delivered:>12}");
    }
}
