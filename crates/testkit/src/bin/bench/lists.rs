//! `bench lists`: how long a page of each common list takes at a million draws, and
//! how many pages a list of few rows has to its end; and the numbers of the metrics.

use crate::history::History;
use crate::report;
use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};
use std::future::Future;
use std::time::{Duration, Instant};
use tombola_core::Timestamp;
use tombola_core::award::State;
use tombola_core::campaign::Kind;
use tombola_core::ports::{Clock, StoreResult};
use tombola_core::reason::DeadReason;
use tombola_engine::SystemClock;
use tombola_store::read::{
    AwardFilter, DeadLetterFilter, DrawFilter, LogFilter, Page, PageQuery, Place,
};
use tombola_store::{Store, StoreOptions};

const FLOOR: Duration = Duration::from_millis(100);
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
    let store = Store::open(&path, StoreOptions::default())?;
    let mut table = Table::default();
    runtime.block_on(measure(&store, i64::try_from(draws)?, &mut table))?;
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

async fn measure(store: &Store, newest: i64, table: &mut Table) -> Result<()> {
    of_awards(store, table).await?;
    of_draws(store, table).await?;
    // Pages in the middle of the history, and at its begin.
    for (name, share) in [
        ("awards, from the middle", 2),
        ("awards, from the end", 1000),
    ] {
        let after = Some(Place(newest / share));
        let read =
            |page: PageQuery| store.award_list(AwardFilter::default(), PageQuery { after, ..page });
        table.list(name, false, read).await?;
    }
    let letters =
        |filter: DeadLetterFilter| move |page| store.dead_letter_list(filter.clone(), page);
    let all = letters(DeadLetterFilter::default());
    table.list("dead letters", false, all).await?;
    let recent = letters(DeadLetterFilter {
        since: Some(hours_ago(1)),
        ..DeadLetterFilter::default()
    });
    table
        .list("dead letters of the last hour", true, recent)
        .await?;
    let log = |page| store.log_list(LogFilter::default(), page);
    table.list("the log", false, log).await?;
    of_gauges(store, table).await
}

async fn of_gauges(store: &Store, table: &mut Table) -> Result<()> {
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

const USER: &str = "user-000042";

fn hours_ago(hours: u64) -> Timestamp {
    SystemClock::new().now().minus(Duration::from_hours(hours))
}

/// All awards but for what `set` says.
fn awards(set: impl FnOnce(&mut AwardFilter)) -> AwardFilter {
    let mut filter = AwardFilter::default();
    set(&mut filter);
    filter
}

/// The same of draws.
fn draws(set: impl FnOnce(&mut DrawFilter)) -> DrawFilter {
    let mut filter = DrawFilter::default();
    set(&mut filter);
    filter
}

async fn of_awards(store: &Store, table: &mut Table) -> Result<()> {
    let named = |name: &str| Some(name.to_owned());
    let in_state = |state: State| awards(|it| it.state = Some(state));
    let of_prize = |slug: &str| awards(|it| it.prize = named(slug));
    let of_campaign = |slug: &str| awards(|it| it.campaign = named(slug));
    let of_user = awards(|it| it.user = named(USER));
    let coffees = AwardFilter {
        prize: named("coffee"),
        ..of_user.clone()
    };
    let hour = awards(|it| it.since = Some(hours_ago(1)));
    let phones = AwardFilter {
        prize: named("phone"),
        ..hour.clone()
    };
    let past = awards(|it| (it.since, it.until) = (Some(hours_ago(241)), Some(hours_ago(240))));
    let poison = awards(|it| it.dead_reason = Some(DeadReason::Poison));
    let points = awards(|it| it.kind = Some(Kind::Points));
    let endpoint = awards(|it| it.endpoint = named("none"));
    for (name, to_end, filter) in [
        ("awards", false, AwardFilter::default()),
        ("awards of a user", true, of_user),
        ("awards of a user and a prize", true, coffees),
        ("awards of a campaign", false, of_campaign("bench")),
        ("awards of the oldest campaign", false, of_campaign("old")),
        ("awards of no campaign", true, of_campaign("none")),
        ("awards of a common prize", false, of_prize("coffee")),
        ("awards of the rarest prize", true, of_prize("phone")),
        ("delivered awards", false, in_state(State::Delivered)),
        ("pending awards", true, in_state(State::Pending)),
        ("held awards", true, in_state(State::Held)),
        ("delivering awards: none", true, in_state(State::Delivering)),
        ("dead awards", false, in_state(State::Dead)),
        ("dead awards of a reason: none", true, poison),
        ("cancelled awards", false, in_state(State::Cancelled)),
        ("awards of a kind: none", true, points),
        ("awards of an endpoint: none", true, endpoint),
        ("awards of the last hour", true, hour),
        ("awards of an hour ten days ago", true, past),
        ("phones of the last hour: none", true, phones),
    ] {
        let read = |page| store.award_list(filter.clone(), page);
        table.list(name, to_end, read).await?;
    }
    Ok(())
}

async fn of_draws(store: &Store, table: &mut Table) -> Result<()> {
    let named = |name: &str| Some(name.to_owned());
    let of_campaign = |slug: &str| draws(|it| it.campaign = named(slug));
    for (name, to_end, filter) in [
        ("draws of a campaign", false, of_campaign("bench")),
        ("draws of the oldest campaign", false, of_campaign("old")),
        ("draws of a user", true, draws(|it| it.user = named(USER))),
        (
            "draws of the rarest prize",
            true,
            draws(|it| it.prize = named("phone")),
        ),
        (
            "draws of a client: none",
            true,
            draws(|it| it.client = named("none")),
        ),
        (
            "draws of the last hour",
            true,
            draws(|it| it.since = Some(hours_ago(1))),
        ),
    ] {
        let read = |page| store.draw_list(filter.clone(), page);
        table.list(name, to_end, read).await?;
    }
    Ok(())
}
