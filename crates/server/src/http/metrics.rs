//! Metrics as Prometheus text: what the engine counts, what the database holds,
//! and the requests answered. Every series of the contract is there from the
//! start, at zero.

use super::Route;
use super::auth::Access;
use super::error::ApiError;
use crate::app::App;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use tombola_core::ports::Role;
use tombola_core::{Timestamp, limits};
use tombola_engine::Meters;
use tombola_engine::meters::Histogram;
use tombola_store::postgres::PoolState;
use tombola_store::read::Gauges;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/metrics", Access::of(&[Role::Auditor]), metrics)
            .about("Read metrics", "Metrics as Prometheus text.")
            .answers_raw(200, "text/plain; version=0.0.4"),
    ]
}

async fn metrics(State(app): State<App>) -> Result<Response, ApiError> {
    let text = render(&app).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response())
}

/// Requests answered, by route and status. Routes are those of the table, so the
/// number of series is bounded.
#[derive(Debug, Default)]
pub(crate) struct HttpCounts(Mutex<BTreeMap<(&'static str, u16), u64>>);

impl HttpCounts {
    pub(super) fn count(&self, route: &'static str, status: StatusCode) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((route, status.as_u16())).or_default() += 1;
    }

    fn each(&self) -> Vec<(&'static str, u16, u64)> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts
            .iter()
            .map(|((route, status), count)| (*route, *status, *count))
            .collect()
    }
}

/// Everything, as text.
pub(crate) async fn render(app: &App) -> Result<String, ApiError> {
    let mut page = Page::default();
    engine(&mut page, &app.meters());
    page.head(
        "tombola_http_requests_total",
        "counter",
        "Requests answered",
    );
    for (route, status, count) in app.http_counts().each() {
        page.sample(
            "tombola_http_requests_total",
            &[("route", route), ("status", &status.to_string())],
            count,
        );
    }
    connections(&mut page, &app.store().connections());
    page.head(
        "tombola_audit_violations",
        "gauge",
        "Violations that the last audit of this process found",
    );
    page.sample("tombola_audit_violations", &[], app.audit_violations());
    if app.exports_gauges() {
        gauges(&mut page, &app.gauges().await?, app.now());
    }
    Ok(page.text)
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.put(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.text.push_str(name);
        for (place, (label, text)) in labels.iter().enumerate() {
            let separator = if place == 0 { '{' } else { ',' };
            let text = text
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            self.put(format_args!("{separator}{label}=\"{text}\""));
        }
        let end = if labels.is_empty() { "" } else { "}" };
        self.put(format_args!("{end} {value}\n"));
    }

    fn counters<'a>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Vec<(&'a str, &'a str)>, u64)>,
    ) {
        self.head(name, "counter", help);
        for (labels, count) in samples {
            self.sample(name, &labels, count);
        }
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.head(name, "histogram", help);
        let bucket = format!("{name}_bucket");
        let (below, all) = histogram.cumulative();
        for (bound, count) in below {
            self.sample(&bucket, &[("le", &bound.to_string())], count);
        }
        self.sample(&bucket, &[("le", "+Inf")], all);
        let millionths = histogram.sum_millionths();
        let sum = format!("{}.{:06}", millionths / 1_000_000, millionths % 1_000_000);
        self.sample(&format!("{name}_sum"), &[], sum);
        self.sample(&format!("{name}_count"), &[], all);
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        self.text
            .write_fmt(text)
            .expect("writing to a text cannot fail");
    }
}

fn engine(page: &mut Page, meters: &Meters) {
    draws(page, meters);
    let publishes = meters.publishes.each();
    page.counters(
        "tombola_publishes_total",
        "What the broker said of publishes",
        publishes.map(|(result, count)| (vec![("result", result)], count)),
    );
    page.counters(
        "tombola_relay_handoff_dropped_total",
        "Hand-offs that the relay dropped; rescue finds them",
        [(Vec::new(), meters.handoffs_dropped.get())],
    );
    let attempts = meters.attempts().into_iter();
    page.counters(
        "tombola_delivery_attempts_total",
        "Attempts that ended",
        attempts.map(|(kind, decision, count)| {
            (
                vec![("kind", kind.name()), ("decision", decision.name())],
                count,
            )
        }),
    );
    let late = meters.late_results().into_iter();
    page.counters(
        "tombola_late_results_total",
        "Results that came after their lease was over",
        late.map(|(decision, count)| (vec![("decision", decision.name())], count)),
    );
    page.counters(
        "tombola_adopted_total",
        "Awards of another draw system that were taken in",
        [(Vec::new(), meters.adopted.get())],
    );
    page.counters(
        "tombola_duplicates_dropped_total",
        "Copies of messages that the row dropped",
        [(Vec::new(), meters.duplicates_dropped.get())],
    );
    let rescued = meters.rescued().into_iter();
    page.counters(
        "tombola_rescued_total",
        "Awards that rescue put back on the path",
        rescued.map(|(from, count)| (vec![("from", from.name())], count)),
    );
    lag(page, meters);
}

fn draws(page: &mut Page, meters: &Meters) {
    let name = "tombola_draws_total";
    page.head(name, "counter", "Draws by how they ended, refused ones too");
    for (campaign, outcomes) in meters.draws() {
        for (outcome, count) in outcomes.each() {
            page.sample(
                name,
                &[("campaign", &campaign), ("outcome", outcome)],
                count,
            );
        }
    }
    let sizes = &meters.draw_batch_size;
    page.histogram(
        "tombola_draw_batch_size",
        "Draws per committed batch",
        sizes,
    );
    let seconds = &meters.draw_seconds;
    page.histogram(
        "tombola_draw_seconds",
        "From arrival in the desk to the answer",
        seconds,
    );
}

/// Of this process, where the database is on a server.
fn connections(page: &mut Page, pools: &[(&str, PoolState)]) {
    if pools.is_empty() {
        return;
    }
    let name = "tombola_database_connections";
    page.head(name, "gauge", "Connections of this process by what they do");
    for (pool, state) in pools {
        let used = state.open.saturating_sub(state.idle);
        for (word, count) in [("idle", state.idle), ("used", used)] {
            page.sample(name, &[("pool", pool), ("state", word)], count);
        }
    }
    let name = "tombola_database_connections_max";
    page.head(name, "gauge", "Connections that this process may have");
    for (pool, state) in pools {
        page.sample(name, &[("pool", pool)], state.max);
    }
    let name = "tombola_database_waiting";
    page.head(
        name,
        "gauge",
        "Calls of this process that wait for a connection",
    );
    for (pool, state) in pools {
        page.sample(name, &[("pool", pool)], state.waiting);
    }
}

fn lag(page: &mut Page, meters: &Meters) {
    let name = "tombola_consumer_lag";
    page.head(
        name,
        "gauge",
        "Messages that the workers' group has not come to",
    );
    for it in meters
        .group()
        .map(|group| group.partitions)
        .unwrap_or_default()
    {
        let lag = it
            .high_watermark
            .saturating_sub(it.committed.max(it.log_start))
            .max(0);
        page.sample(name, &[("partition", &it.partition.to_string())], lag);
    }
}

/// What the database holds; only the rescue role exports it.
fn gauges(page: &mut Page, gauges: &Gauges, now: Timestamp) {
    page.head("tombola_awards", "gauge", "Awards by state");
    for (state, count) in &gauges.awards {
        page.sample("tombola_awards", &[("state", state.name())], count);
    }
    page.head("tombola_held", "gauge", "Held awards by reason");
    for (reason, count) in &gauges.held {
        page.sample("tombola_held", &[("reason", reason.name())], count);
    }
    page.head(
        "tombola_dead_letters",
        "gauge",
        "Dead awards, and kept messages, by reason",
    );
    let dead = gauges
        .dead
        .iter()
        .map(|(reason, count)| (reason.name(), count));
    let kept = gauges
        .kept
        .iter()
        .map(|(reason, count)| (reason.name(), count));
    for (reason, count) in dead.chain(kept) {
        page.sample("tombola_dead_letters", &[("reason", reason)], count);
    }
    let age = |since: Option<Timestamp>| since.map_or(0.0, |since| now.since(since).as_secs_f64());
    let ages = [
        (
            "tombola_oldest_unpublished_seconds",
            "Age of the oldest award that no broker has",
            gauges.oldest_unpublished,
        ),
        (
            "tombola_oldest_undelivered_seconds",
            "Age of the oldest award on its way",
            gauges.oldest_undelivered,
        ),
    ];
    for (name, help, since) in ages {
        page.head(name, "gauge", help);
        page.sample(name, &[], age(since));
    }
    page.head(
        "tombola_stock_left",
        "gauge",
        "Units left of prizes with stock",
    );
    let (shown, rest) = gauges
        .stock_left
        .split_at(gauges.stock_left.len().min(limits::CAMPAIGN_SERIES_MAX));
    for it in shown {
        page.sample(
            "tombola_stock_left",
            &[("campaign", &it.campaign), ("prize", &it.prize)],
            it.left,
        );
    }
    if !rest.is_empty() {
        let left: u64 = rest.iter().map(|it| it.left).sum();
        page.sample(
            "tombola_stock_left",
            &[("campaign", "other"), ("prize", "other")],
            left,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tombola_store::read::StockLeft;

    #[test]
    fn every_series_of_the_engine_is_there_at_zero() {
        let mut page = Page::default();
        engine(&mut page, &Meters::new());
        gauges(&mut page, &Gauges::default(), Timestamp(0));
        for line in [
            "tombola_draw_batch_size_count 0",
            "tombola_draw_seconds_bucket{le=\"+Inf\"} 0",
            "tombola_publishes_total{result=\"taken\"} 0",
            "tombola_relay_handoff_dropped_total 0",
            "tombola_delivery_attempts_total{kind=\"webhook\",decision=\"unknown\"} 0",
            "tombola_late_results_total{decision=\"delivered\"} 0",
            "tombola_adopted_total 0",
            "tombola_duplicates_dropped_total 0",
            "tombola_rescued_total{from=\"delivering\"} 0",
            "tombola_oldest_unpublished_seconds 0",
        ] {
            assert!(page.text.lines().any(|it| it == line), "{line}");
        }
    }

    #[test]
    fn series_of_stock_are_as_many_as_the_bound_and_the_rest_share_one() {
        let lines = |prizes: usize| {
            let stock_left = (0..prizes).map(|n| StockLeft {
                campaign: format!("c{n}"),
                prize: "p".to_owned(),
                left: 2,
            });
            let found = Gauges {
                stock_left: stock_left.collect(),
                ..Gauges::default()
            };
            let mut page = Page::default();
            gauges(&mut page, &found, Timestamp(0));
            let lines = page.text.lines();
            let of_stock = lines.filter(|line| line.starts_with("tombola_stock_left{"));
            of_stock.map(str::to_owned).collect::<Vec<_>>()
        };
        let max = limits::CAMPAIGN_SERIES_MAX;
        let whole = lines(max);
        assert_eq!(
            (whole.len(), whole.iter().any(|it| it.contains("other"))),
            (max, false)
        );
        let beyond = lines(max + 3);
        let rest = "tombola_stock_left{campaign=\"other\",prize=\"other\"} 6";
        assert_eq!((beyond.len(), beyond[max].as_str()), (max + 1, rest));
    }

    #[test]
    fn connections_are_shown_by_pool_where_there_are_pools() {
        let shown = |pools: &[(&str, PoolState)]| {
            let mut page = Page::default();
            connections(&mut page, pools);
            page.text
        };
        assert_eq!(shown(&[]), "");
        let state = PoolState {
            max: 16,
            open: 5,
            idle: 2,
            waiting: 1,
        };
        let text = shown(&[("write", state)]);
        for line in [
            "tombola_database_connections{pool=\"write\",state=\"idle\"} 2",
            "tombola_database_connections{pool=\"write\",state=\"used\"} 3",
            "tombola_database_connections_max{pool=\"write\"} 16",
            "tombola_database_waiting{pool=\"write\"} 1",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}: {text}");
        }
    }

    #[test]
    fn label_values_are_escaped() {
        let mut page = Page::default();
        page.sample("m", &[("a", "x\"y\\z\n")], 1);
        assert_eq!(page.text, "m{a=\"x\\\"y\\\\z\\n\"} 1\n");
    }
}
