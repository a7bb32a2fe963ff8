//! `bench lists`: how long a page of each common list takes at a million draws, and
//! how many pages a list of few rows has to its end; and the numbers of the metrics.

use crate::history::History;
use crate::report;
use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};
use std::future::Future;
use std::time::{Duration, Instant};
use tombola_core::award::State;
use tombola_core::campaign::Kind;
use tombola_core::ports::{Clock, StoreResult};
use tombola_core::reason::DeadReason;
use tombola_engine::SystemClock;
use tombola_store::read::{AwardFilter, DeadLetterFilter, DrawFilter, LogFilter, Page, PageQuery};
use tombola_store::{SqliteStore, StoreOptions};

const FLOOR: Duration = Duration::from_millis(50);
const TIMES: usize = 15;

/// `lists [--draws N] [--dir DIR]`
pub(crate) fn run(mut args: impl Iterator<Item = String>) -> Result<()> {
    let (mut draws, mut dir) = (1_000_000, "target".to_owned());
    while let Some(flag) = args.next() {
        let value = args.next().unwrap_or_default();
        match flag.as_str() {
            "--draws" => draws = value.parse()?,
            "--dir" => dir = value,
            other => bail!("`{other}` is not known; use --draws, --dir"),
        }
    }
    std::fs::create_dir_all(&dir)?;
    let home = tempfile::tempdir_in(&dir)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let path = home.path().join("tombola.db");
    let history = History {
        draws,
        win_percent: 70,
        open_of_1000: 40,
    };
    let begun = Instant::now();
    runtime.block_on(history.fill(&path))?;
    println!(
        "{draws} draws, filled in {:.0} s",
        begun.elapsed().as_secs_f64()
    );
    let store = SqliteStore::open(&path, StoreOptions::default())?;
    let mut table = Table::default();
    runtime.block_on(measure(&store, &mut table))?;
    report::keep(
        "lists",
        &[],
        &json!({ "draws": draws, "lists": table.rows }),
    )?;
    ensure!(
        table.slowest < FLOOR,
        "a page took {} ms",
        table.slowest.as_millis()
    );
    Ok(())
}

#[derive(Default)]
struct Table {
    rows: Vec<Value>,
    slowest: Duration,
}

impl Table {
    /// The first page again and again, then all pages of a list of few rows.
    async fn list<T, F>(
        &mut self,
        name: &str,
        to_end: bool,
        mut read: impl FnMut(PageQuery) -> F,
    ) -> Result<()>
    where
        F: Future<Output = StoreResult<Page<T>>>,
    {
        let (mut times, mut rows) = (Vec::new(), 0);
        for _ in 0..=TIMES {
            let begun = Instant::now();
            rows = read(PageQuery::default()).await?.items.len();
            times.push(begun.elapsed());
        }
        let cold = times.remove(0);
        times.sort();
        let (median, slowest) = (times[TIMES / 2], times[TIMES - 1]);
        let mut end = json!(null);
        if to_end {
            let (begun, mut pages, mut after, mut longest) =
                (Instant::now(), 0, None, Duration::ZERO);
            loop {
                let page_begun = Instant::now();
                let page = read(PageQuery { after, limit: None }).await?;
                longest = longest.max(page_begun.elapsed());
                (pages, after) = (pages + 1, page.next);
                if after.is_none() {
                    break;
                }
            }
            self.slowest = self.slowest.max(longest);
            end = json!({ "pages": pages, "ms": ms(begun.elapsed()), "slowest_ms": ms(longest) });
        }
        self.slowest = self.slowest.max(slowest);
        println!(
            "{name:<44} {rows:>3} rows, first {:>7.2} ms, then {:>7.2} ms, at most {:>7.2} ms; to the end {end}",
            ms(cold),
            ms(median),
            ms(slowest),
        );
        self.rows.push(json!({ "list": name, "rows": rows, "first_ms": ms(cold), "median_ms": ms(median), "slowest_ms": ms(slowest), "to_end": end }));
        Ok(())
    }
}

fn ms(span: Duration) -> f64 {
    (span.as_secs_f64() * 1e5).round() / 1e2
}

fn named(name: &str) -> Option<String> {
    Some(name.to_owned())
}

async fn measure(store: &SqliteStore, table: &mut Table) -> Result<()> {
    of_awards(store, table).await?;
    of_draws(store, table).await?;
    let letters =
        |filter: DeadLetterFilter| move |page| store.dead_letter_list(filter.clone(), page);
    table
        .list("dead letters", false, letters(DeadLetterFilter::default()))
        .await?;
    let since = Some(SystemClock::new().now().minus(Duration::from_hours(1)));
    let recent = DeadLetterFilter {
        since,
        ..DeadLetterFilter::default()
    };
    table
        .list("dead letters of the last hour", true, letters(recent))
        .await?;
    table
        .list("the log", false, |page| {
            store.log_list(LogFilter::default(), page)
        })
        .await?;
    let (mut times, begun) = (Vec::new(), Instant::now());
    let gauges = store.gauges().await?;
    let cold = begun.elapsed();
    for _ in 0..TIMES {
        let begun = Instant::now();
        store.gauges().await?;
        times.push(begun.elapsed());
    }
    times.sort();
    println!(
        "numbers of the metrics: first {:.2} ms, then {:.2} ms; {:?}",
        ms(cold),
        ms(times[TIMES / 2]),
        gauges.awards
    );
    table
        .rows
        .push(json!({ "list": "gauges", "first_ms": ms(cold), "median_ms": ms(times[TIMES / 2]) }));
    Ok(())
}

async fn of_awards(store: &SqliteStore, table: &mut Table) -> Result<()> {
    let now = SystemClock::new().now();
    let hour = Some(now.minus(Duration::from_hours(1)));
    let day = (
        Some(now.minus(Duration::from_hours(241))),
        Some(now.minus(Duration::from_hours(240))),
    );
    let all = AwardFilter::default;
    let cases = [
        ("awards", false, all()),
        (
            "awards of a user",
            true,
            AwardFilter {
                user: named("user-000042"),
                ..all()
            },
        ),
        (
            "awards of a user and a prize",
            true,
            AwardFilter {
                user: named("user-000042"),
                prize: named("coffee"),
                ..all()
            },
        ),
        (
            "awards of a campaign",
            false,
            AwardFilter {
                campaign: named("bench"),
                ..all()
            },
        ),
        (
            "awards of the oldest campaign",
            false,
            AwardFilter {
                campaign: named("old"),
                ..all()
            },
        ),
        (
            "awards of a campaign that is not there",
            true,
            AwardFilter {
                campaign: named("none"),
                ..all()
            },
        ),
        (
            "awards of a common prize",
            false,
            AwardFilter {
                prize: named("coffee"),
                ..all()
            },
        ),
        (
            "awards of the rarest prize",
            true,
            AwardFilter {
                prize: named("phone"),
                ..all()
            },
        ),
        (
            "delivered awards",
            false,
            AwardFilter {
                state: Some(State::Delivered),
                ..all()
            },
        ),
        (
            "pending awards",
            true,
            AwardFilter {
                state: Some(State::Pending),
                ..all()
            },
        ),
        (
            "held awards",
            true,
            AwardFilter {
                state: Some(State::Held),
                ..all()
            },
        ),
        (
            "delivering awards (none)",
            true,
            AwardFilter {
                state: Some(State::Delivering),
                ..all()
            },
        ),
        (
            "dead awards",
            false,
            AwardFilter {
                state: Some(State::Dead),
                ..all()
            },
        ),
        (
            "dead awards of a reason that none has",
            true,
            AwardFilter {
                dead_reason: Some(DeadReason::Poison),
                ..all()
            },
        ),
        (
            "cancelled awards",
            false,
            AwardFilter {
                state: Some(State::Cancelled),
                ..all()
            },
        ),
        (
            "awards of a kind that none has",
            true,
            AwardFilter {
                kind: Some(Kind::Points),
                ..all()
            },
        ),
        (
            "awards of an endpoint that none has",
            true,
            AwardFilter {
                endpoint: named("none"),
                ..all()
            },
        ),
        (
            "awards of the last hour",
            true,
            AwardFilter {
                since: hour,
                ..all()
            },
        ),
        (
            "awards of an hour ten days ago",
            true,
            AwardFilter {
                since: day.0,
                until: day.1,
                ..all()
            },
        ),
        (
            "phones of the last hour",
            true,
            AwardFilter {
                prize: named("phone"),
                since: hour,
                ..all()
            },
        ),
    ];
    for (name, to_end, filter) in cases {
        table
            .list(name, to_end, |page| store.award_list(filter.clone(), page))
            .await?;
    }
    Ok(())
}

async fn of_draws(store: &SqliteStore, table: &mut Table) -> Result<()> {
    let hour = Some(SystemClock::new().now().minus(Duration::from_hours(1)));
    let all = DrawFilter::default;
    let cases = [
        (
            "draws of a campaign",
            false,
            DrawFilter {
                campaign: named("bench"),
                ..all()
            },
        ),
        (
            "draws of the oldest campaign",
            false,
            DrawFilter {
                campaign: named("old"),
                ..all()
            },
        ),
        (
            "draws of a user",
            true,
            DrawFilter {
                user: named("user-000042"),
                ..all()
            },
        ),
        (
            "draws that won the rarest prize",
            true,
            DrawFilter {
                prize: named("phone"),
                ..all()
            },
        ),
        (
            "draws of a client that never drew",
            true,
            DrawFilter {
                client: named("none"),
                ..all()
            },
        ),
        (
            "draws of the last hour",
            true,
            DrawFilter {
                since: hour,
                ..all()
            },
        ),
    ];
    for (name, to_end, filter) in cases {
        table
            .list(name, to_end, |page| store.draw_list(filter.clone(), page))
            .await?;
    }
    Ok(())
}
