//! Metrics: every name of the contract is there from the start.

use crate::world::World;
use tombola_server::app::ServeRoles;

const NAMES: [&str; 18] = [
    "tombola_draws_total",
    "tombola_draw_batch_size",
    "tombola_draw_seconds",
    "tombola_awards",
    "tombola_held",
    "tombola_oldest_unpublished_seconds",
    "tombola_oldest_undelivered_seconds",
    "tombola_publishes_total",
    "tombola_relay_handoff_dropped_total",
    "tombola_delivery_attempts_total",
    "tombola_late_results_total",
    "tombola_duplicates_dropped_total",
    "tombola_rescued_total",
    "tombola_dead_letters",
    "tombola_stock_left",
    "tombola_consumer_lag",
    "tombola_audit_violations",
    "tombola_http_requests_total",
];

#[tokio::test]
async fn every_metric_of_the_contract_has_its_name_from_the_start() {
    let world = World::with_fair().await;
    world.app.start(ServeRoles::all()).await.unwrap();
    let text = String::from_utf8(world.get("/metrics").await.body).unwrap();
    for name in NAMES {
        assert!(
            text.contains(&format!("# TYPE {name} ")),
            "{name} is missing:\n{text}"
        );
    }
    for line in [
        "tombola_awards{state=\"pending\"} 0",
        "tombola_held{reason=\"address\"} 0",
        "tombola_dead_letters{reason=\"exhausted\"} 0",
        "tombola_dead_letters{reason=\"undecodable\"} 0",
        "tombola_stock_left{campaign=\"fair\",prize=\"coffee\"} 3",
        "tombola_audit_violations 0",
    ] {
        assert!(
            text.lines().any(|it| it == line),
            "{line} is missing:\n{text}"
        );
    }
    world.app.stop().await;
}
