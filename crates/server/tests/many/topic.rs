//! Roles in processes of their own, with the topic on Kafka between them.

use crate::lives::{more, while_callers_draw};
use crate::town::{ADMIN, Town, sum};
use serde_json::{Value, json};

fn campaign() -> Value {
    json!({
        "campaign": { "slug": "fair", "name": "Fair" },
        "prize": [
            { "slug": "word", "name": "A word", "kind": "text", "text": "well done", "odds": "50%" },
            { "slug": "thanks", "name": "Thanks", "kind": "points", "points": 1, "odds": "50%" },
        ]
    })
}

/// Every draw wins.
fn all_were_delivered(shown: &Value, drawn: usize) {
    assert_eq!(shown["draws"], drawn, "{shown:#}");
    assert_eq!(sum(shown, "delivered"), drawn as u64, "{shown:#}");
}

/// The status of `/readyz`, and what it says of the topic.
fn topic_at(town: &Town, process: usize) -> (u16, String) {
    let call = ("GET", "/readyz");
    let answer = town
        .ask(process, call, (ADMIN, "ready"), &Value::Null)
        .unwrap();
    let said = answer.json()["checks"]["topic"].as_str().map(str::to_owned);
    (answer.status, said.unwrap_or_default())
}

/// Returns once that process has found the topic: one of several brokers may hear of it late, and
/// what was not found is looked for again.
fn until_found(town: &Town, process: usize) {
    const LOOKS_MAX: u32 = 20_000;
    let found = (200, "ok".to_owned());
    assert!(
        (0..LOOKS_MAX).any(|_| topic_at(town, process) == found),
        "process {process} does not find the topic"
    );
}

#[test]
fn what_a_worker_that_is_killed_had_in_hand_another_delivers() {
    let roles = ["api", "worker", "rescue"];
    let Some(town) = Town::on_kafka(&roles) else {
        return;
    };
    for process in 0..roles.len() {
        until_found(&town, process);
    }
    town.start("fair", &campaign());
    let drawn = while_callers_draw(&town, |drawn| {
        more(drawn, 300);
        town.end(1, "-KILL");
        more(drawn, 300);
        town.restart(1);
        more(drawn, 300);
    });
    all_were_delivered(&town.all_delivered(0, "fair"), drawn);
    let described = town.tombola(&["topic", "describe"]);
    assert_eq!(described["partitions"].as_array().unwrap().len(), 8);
    let published: u64 = described["partitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["high_watermark"].as_u64().unwrap())
        .sum();
    assert!(published >= drawn as u64, "{described:#}");
    let doctor = town.admin(0, "GET", "/v1/doctor", &Value::Null);
    let checks = doctor["checks"].as_array().unwrap().iter();
    let of_topic: Vec<_> = checks
        .map(|it| (it["name"].as_str().unwrap(), it["state"].as_str().unwrap()))
        .filter(|(name, _)| name.starts_with("topic"))
        .collect();
    let wanted = [
        ("topic", "ok"),
        ("topic.settings", "warning"), // one broker has the only copy
        ("topic.partitions", "ok"),
        ("topic.group", "ok"),
        ("topic.foreign", "ok"),
    ];
    assert_eq!(of_topic, wanted);
    let again = town.tombola(&["topic", "create", "--partitions", "8", "--replication", "1"]);
    assert_eq!(again["state"], "as_asked", "{again:#}");
}

#[test]
fn process_without_the_role_api_answers_how_it_does_and_nothing_else() {
    let Some(town) = Town::on_kafka(&["api", "worker,rescue"]) else {
        return;
    };
    let list = |process| {
        let call = ("GET", "/v1/campaigns");
        let answer = town.ask(process, call, (ADMIN, "list"), &Value::Null);
        answer.unwrap().status
    };
    assert_eq!([list(0), list(1)], [200, 404]);
    let metrics = ("GET", "/metrics");
    let answer = town.ask(1, metrics, (ADMIN, "metrics"), &Value::Null);
    assert_eq!(answer.unwrap().status, 200);
}

/// A load balancer must not take away who can draw; who only delivers is of no use.
#[test]
fn without_a_broker_draws_go_on_and_only_who_needs_it_is_not_ready() {
    let nobody = "kafka://127.0.0.1:1";
    let Some(mut town) = Town::with_broker(&["api", "worker"], nobody) else {
        return;
    };
    town.begin();
    let (status, said) = topic_at(&town, 0);
    assert!(
        status == 200 && said.starts_with("degraded: "),
        "{status} {said}"
    );
    let (status, said) = topic_at(&town, 1);
    assert!(
        status == 503 && said.contains("not available"),
        "{status} {said}"
    );
    town.start("fair", &campaign());
    let drawn = while_callers_draw(&town, |drawn| more(drawn, 50));
    let shown = town.admin(0, "GET", "/v1/campaigns/fair", &Value::Null);
    assert_eq!(shown["draws"], drawn, "{shown:#}");
    // They do not wait for what nobody takes.
    town.end(0, "-TERM");
    town.end(1, "-TERM");
}

#[test]
fn topic_that_is_made_after_the_start_is_found_and_what_was_drawn_is_delivered() {
    let Some(mut town) = Town::without_topic(&["api,worker,rescue"]) else {
        return;
    };
    town.begin();
    let (status, said) = topic_at(&town, 0);
    assert!(
        status == 200 && said.contains("`tombola topic create`"),
        "{status} {said}"
    );
    town.start("fair", &campaign());
    let drawn = while_callers_draw(&town, |drawn| more(drawn, 50));
    town.tombola(&["topic", "create", "--partitions", "4", "--replication", "1"]);
    all_were_delivered(&town.all_delivered(0, "fair"), drawn);
    until_found(&town, 0);
}

/// Of the user whom the services make.
const PASSWORD: &str = "a-password-of-the-tests";

#[test]
fn topic_behind_tls_and_a_password_is_made_and_what_was_drawn_is_delivered() {
    let Some(mut town) = Town::behind_tls(&["api", "worker,rescue"], PASSWORD) else {
        return;
    };
    town.tombola(&["topic", "create", "--partitions", "4", "--replication", "1"]);
    town.begin();
    until_found(&town, 1);
    town.start("fair", &campaign());
    let drawn = while_callers_draw(&town, |drawn| more(drawn, 50));
    all_were_delivered(&town.all_delivered(0, "fair"), drawn);
}

#[test]
fn wrong_password_of_kafka_is_named_by_doctor_and_draws_go_on() {
    let Some(mut town) = Town::behind_tls(&["api"], "another") else {
        return;
    };
    town.begin();
    town.start("fair", &campaign());
    while_callers_draw(&town, |drawn| more(drawn, 50));
    let doctor = town.admin(0, "GET", "/v1/doctor", &Value::Null);
    let checks = doctor["checks"].as_array().unwrap();
    let topic = checks.iter().find(|it| it["name"] == "topic").unwrap();
    assert_eq!(topic["state"], "fault");
    let what = topic["what"].as_str().unwrap();
    assert!(what.contains("Authentication failed"), "{what}");
    assert!(!what.contains("another"), "{what}");
    town.end(0, "-TERM");
}
