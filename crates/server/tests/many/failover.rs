//! The primary dies while callers draw, and its synchronous standby takes its place.

use crate::lives::{campaign, more, while_callers_draw};
use crate::town::{ADMIN, Town};
use serde_json::json;
use tombola_store::conformance::{cluster::Cluster, server};

/// A primary, and the standby that each of its commits waits for.
struct Pair {
    primary: Cluster,
    standby: Cluster,
}

impl Pair {
    /// `None` where PostgreSQL is not installed.
    fn start() -> Option<Self> {
        let Some(primary) = Cluster::alone() else {
            server::skip();
            return None;
        };
        let standby = primary.copy();
        primary.start("-c synchronous_standby_names='*'");
        standby.follow(&primary);
        Some(Self { primary, standby })
    }

    fn url(&self) -> String {
        let host = |it: &Cluster| it.path().to_str().unwrap().replace('/', "%2F");
        let (first, second) = (host(&self.primary), host(&self.standby));
        format!("postgres://tombola@{first},{second}/postgres?target_session_attrs=read-write")
    }

    fn fail_over(&self) {
        self.primary.crash();
        self.standby.promote();
    }
}

#[test]
fn what_was_answered_outlives_the_primary_and_the_same_processes_go_on_at_its_standby() {
    let Some(pair) = Pair::start() else { return };
    let town = Town::on(&pair.url(), 2);
    town.start("fair", &campaign());
    let before = |process| {
        let call = ("POST", "/v1/campaigns/fair/draws");
        let key = (ADMIN, "before-the-primary-died");
        town.ask(process, call, key, &json!({ "user": "ann" }))
            .unwrap()
    };
    let first = before(0);
    assert_eq!(first.status, 201, "{first:?}");

    let drawn = while_callers_draw(&town, |drawn| {
        more(drawn, 200);
        pair.fail_over();
        more(drawn, 200);
    });

    for process in 0..town.processes() {
        assert_eq!(before(process).body, first.body, "one key, one answer");
    }
    let shown = town.all_delivered(1, "fair");
    assert_eq!(shown["draws"], drawn + 1, "{shown:#}");
    assert_eq!(shown["prizes"][0]["delivered"], drawn + 1, "{shown:#}");
}
