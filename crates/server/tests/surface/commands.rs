//! The main commands, whole: exit code, stdout, stderr.

use crate::world::{Desk, FAIR, until};
use serde_json::{Value, json};

#[test]
fn campaign_from_its_file_to_a_delivered_award_and_a_clean_audit() {
    let desk = Desk::new();
    let applied = desk.ok(&["campaign", "apply", "fair.toml", "--start"]);
    assert_eq!(applied.stdout, "");
    assert_eq!(
        applied.stderr,
        "fair: version 1 put in\n\
         fair/coffee: 3 codes imported from codes.csv\n\
         fair: version 1 is submitted\n\
         fair: version 1 is approved\n\
         fair: version 1 is started\n"
    );
    let again = desk.ok(&["campaign", "apply", "fair.toml", "--start"]);
    assert_eq!(again.stderr, "fair: version 1 unchanged\n");
    let listed = desk.ok(&["campaign", "list"]);
    assert_eq!(
        listed.stdout,
        "CAMPAIGN  PHASE    VERSION  NEXT  DRAWS  STARTS  ENDS  NAME\n\
         fair      running  1        -     0      -       -     Fair\n"
    );

    let drawn = desk
        .ok(&["draw", "fair", "--user", "u1", "--count", "5", "--json"])
        .json();
    assert_eq!(drawn["draws"].as_array().unwrap().len(), 5);
    let refused = desk.run(&["draw", "fair", "--user", "u1"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""));
    assert_eq!(
        refused.stderr,
        "error: No draws are left: `per_user_total` leaves 0 draws (allowance_exhausted)\n"
    );

    // A server delivers what the command drew.
    let server = desk.serve();
    all_five_are_delivered_or_wait_for_an_address(&desk);
    let csv = desk.ok(&["award", "list", "--csv"]);
    assert_eq!(csv.stdout.lines().count(), 6);
    assert!(
        csv.stdout
            .starts_with("id,drawn_at,campaign,user,prize,kind,state,hold_reason,")
    );
    assert_eq!(server.stop().code, Some(0));

    let audit = desk.ok(&["audit", "--full", "--json"]).json();
    assert_eq!(
        (&audit["ok"], &audit["campaigns"][0]["wins"]),
        (&json!(true), &json!(5))
    );
    assert!(desk.ok(&["audit"]).stdout.ends_with("the audit is clean\n"));
}

fn all_five_are_delivered_or_wait_for_an_address(desk: &Desk) {
    let unfinished = |desk: &Desk| {
        let awards = desk.ok(&["award", "list", "--json"]).json_lines();
        awards
            .iter()
            .filter(|award| award["grant_state"] == 0 && award["state"] != "held")
            .count()
    };
    until("all awards are delivered or held", || unfinished(desk) == 0);
    let awards = desk.ok(&["award", "list", "--json"]).json_lines();
    assert_eq!(awards.len(), 5);
    for award in &awards {
        let (state, reason) = match award["kind"].as_str().unwrap() {
            "physical" => ("held", json!("address")),
            _ => ("delivered", Value::Null),
        };
        assert_eq!(
            (&award["state"], &award["hold_reason"]),
            (&json!(state), &reason),
            "{award}"
        );
        let id = award["id"].to_string();
        let shown = desk.ok(&["award", "show", &id, "--json"]).json();
        assert_eq!(shown["timeline"][0]["what"], "drawn");
        assert_eq!(shown["mq_state"], 1, "{shown}");
        let people = desk.ok(&["award", "show", &id]);
        assert!(
            people.stdout.starts_with(&format!("award {id} of u1: ")),
            "{people:?}"
        );
    }
}

/// A user has won a mug; gives the award's id.
fn mug_won(desk: &Desk) -> String {
    let only_mugs = FAIR
        .replace("odds = \"40%\"", "odds = \"0.1%\"")
        .replace("odds = \"30%\"\n\n", "odds = \"99.8%\"\n\n")
        .replace("odds = \"30%\"", "odds = \"0.1%\"");
    std::fs::write(desk.path("fair.toml"), only_mugs).unwrap();
    desk.ok(&["campaign", "apply", "fair.toml", "--start"]);
    let args = ["draw", "fair", "--user", "u1", "--count", "5", "--json"];
    let drawn = desk.ok(&args).json();
    let mut draws = drawn["draws"].as_array().unwrap().iter();
    draws.find(|draw| draw["prize"] == "mug").unwrap()["id"].to_string()
}

#[test]
fn award_is_held_and_released_by_command() {
    let desk = Desk::new();
    let id = mug_won(&desk);
    let held = desk
        .ok(&["award", "hold", &id, "--reason", "customs", "--json"])
        .json();
    assert_eq!(
        (&held["state"], &held["hold_reason"]),
        (&json!("held"), &json!("manual"))
    );
    let twice = desk.run(&["award", "hold", &id, "--reason", "again"]);
    assert_eq!(twice.code, Some(1));
    let said = "error: The award's state does not allow it: the award is held (award_state)\n";
    assert_eq!(twice.stderr, said);
    let released = desk.ok(&["award", "release", &id, "--reason", "cleared"]);
    assert!(
        released.stdout.starts_with(&format!("award {id}: pending")),
        "{released:?}"
    );
    let args = ["award", "cancel", &id, "--reason", "withdrawn", "--json"];
    let cancelled = desk.ok(&args).json();
    assert_eq!(
        (&cancelled["state"], &cancelled["grant_state"]),
        (&json!("cancelled"), &json!(2))
    );
}

#[test]
fn physical_prize_from_its_address_to_its_confirmation() {
    let desk = Desk::new();
    let id = mug_won(&desk);
    let server = desk.serve();
    let shown = || desk.ok(&["award", "show", &id, "--json"]);
    until("it waits for an address", || {
        shown().json()["hold_reason"] == "address"
    });
    let place = [
        "--name",
        "Ann",
        "--line",
        "Main 1",
        "--city",
        "Bergen",
        "--country",
        "NO",
    ];
    desk.ok(&[&["award", "address", &id][..], &place].concat());
    until("it waits for a shipment", || {
        shown().json()["hold_reason"] == "shipment"
    });
    desk.ok(&[
        "award",
        "ship",
        &id,
        "--carrier",
        "post",
        "--tracking",
        "T-1",
    ]);
    let args = [
        "award",
        "confirm",
        &id,
        "--reason",
        "signed for",
        "--receipt",
        "R-1",
        "--json",
    ];
    let confirmed = desk.ok(&args).json();
    assert_eq!(
        (&confirmed["state"], &confirmed["grant_state"]),
        (&json!("delivered"), &json!(1))
    );
    let log = desk.ok(&["log", "--award", &id, "--json"]).json_lines();
    let actions: Vec<_> = log
        .iter()
        .rev()
        .map(|line| line["action"].as_str().unwrap())
        .collect();
    assert_eq!(actions, ["award address", "award ship", "award confirm"]);
    assert!(
        !shown().stdout.contains("Main 1"),
        "addresses are not shown"
    );
    drop(server);
}

#[test]
fn validate_names_place_problem_and_mend_and_ends_with_1() {
    let desk = Desk::new();
    let good = desk.ok(&["campaign", "validate", "fair.toml"]);
    assert_eq!(
        good.stdout,
        "fair.toml: campaign fair with 3 prizes is valid\n"
    );
    std::fs::write(
        desk.path("bad.toml"),
        FAIR.replace("odds = \"40%\"", "odds = \"90%\"")
            .replace("stock = 3", "stok = 3"),
    )
    .unwrap();
    let bad = desk.run(&["campaign", "validate", "bad.toml"]);
    assert_eq!((bad.code, bad.stdout.as_str()), (Some(1), ""));
    assert!(
        bad.stderr
            .contains("bad.toml:18:1: no key is called \"stok\"\n  hint: did you mean `stock`?\n"),
        "{bad:?}"
    );
    let bad = desk.run(&["campaign", "validate", "bad.toml", "--json"]);
    assert_eq!(bad.code, Some(1));
    let document = bad.json();
    assert_eq!(
        (&document["ok"], &document["problems"][0]["line"]),
        (&json!(false), &json!(18))
    );
    let refused = desk.run(&["campaign", "apply", "bad.toml"]);
    assert_eq!(refused.code, Some(1));
    assert!(
        !desk.data().exists(),
        "nothing is put in, nor made, for a bad file"
    );
    assert_eq!(
        desk.run(&["campaign", "validate", "none.toml"]).code,
        Some(1)
    );
}

#[test]
fn campaign_is_not_started_without_its_codes() {
    let desk = Desk::new();
    desk.ok(&["campaign", "apply", "fair.toml"]);
    desk.ok(&["campaign", "submit", "fair"]);
    desk.ok(&["campaign", "approve", "fair", "--reason", "four eyes"]);
    let refused = desk.run(&["campaign", "start", "fair"]);
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stderr.contains("(campaign_not_ready)\n  "),
        "{refused:?}"
    );
    assert!(refused.stderr.contains("coffee"), "{refused:?}");
    desk.ok(&["code", "import", "fair", "coffee", "codes.csv"]);
    assert_eq!(
        desk.ok(&["campaign", "start", "fair"]).stdout,
        "fair: version 1 is started\n"
    );
    let paused = desk.ok(&["campaign", "pause", "fair", "--json"]).json();
    assert_eq!(
        paused,
        json!({ "campaign": "fair", "state": "paused", "version": 1 })
    );
    let refused = desk.run(&["draw", "fair", "--user", "u1"]);
    assert_eq!(
        refused.stderr,
        "error: The campaign is not running: the campaign is paused (campaign_not_running)\n"
    );
}

#[test]
fn stock_is_added_and_withdrawn_by_command() {
    let desk = Desk::new();
    desk.ok(&["campaign", "apply", "fair.toml", "--start"]);
    let added = desk.ok(&["stock", "add", "fair", "coffee", "2"]);
    assert_eq!(added.stdout, "fair/coffee: stock 5, 5 left\n");
    let withdrawn = desk.ok(&["stock", "withdraw", "fair", "coffee", "5"]);
    assert_eq!(withdrawn.stdout, "fair/coffee: stock 0, 0 left\n");
    assert_eq!(
        desk.run(&["stock", "withdraw", "fair", "coffee", "1"]).code,
        Some(1)
    );
    assert_eq!(
        desk.run(&["stock", "add", "fair", "thanks", "1"]).code,
        Some(1)
    );
}

#[test]
fn key_is_shown_once_and_revoked_by_its_number() {
    let desk = Desk::new();
    let args = [
        "key",
        "create",
        "--role",
        "client",
        "--client",
        "app",
        "--expires",
        "30d",
    ];
    let made = desk.ok(&args);
    assert!(
        made.stdout.starts_with("tmb_") && made.stdout.lines().count() == 1,
        "{made:?}"
    );
    let listed = desk.ok(&["key", "list", "--json"]);
    assert!(!listed.stdout.contains(made.stdout.trim()));
    let id = listed.json()["id"].to_string();
    let revoked = desk.ok(&["key", "revoke", &id]);
    assert_eq!(revoked.stdout, format!("key {id} of app is revoked\n"));
    assert!(desk.ok(&["key", "list", "--json"]).json()["revoked_at"].is_string());
}

#[test]
fn endpoint_is_put_from_its_file_and_its_secret_shown_once() {
    let desk = Desk::new();
    let endpoints =
        "[[endpoint]]\nname = \"shop\"\nurl = \"https://shop.example/awards\"\nidempotent = true\n";
    std::fs::write(desk.path("endpoints.toml"), endpoints).unwrap();
    let put = desk.ok(&["endpoint", "put", "endpoints.toml"]);
    assert!(
        put.stdout.starts_with("shop: put in, its secret is whsec_"),
        "{put:?}"
    );
    assert_eq!(
        desk.ok(&["endpoint", "put", "endpoints.toml"]).stdout,
        "shop: put in\n"
    );
    assert!(
        !desk
            .ok(&["endpoint", "show", "shop", "--json"])
            .stdout
            .contains("whsec_")
    );
    assert_eq!(
        desk.ok(&["endpoint", "disable", "shop"]).stdout,
        "shop: disabled\n"
    );
    assert_eq!(
        desk.ok(&["endpoint", "list", "--json"]).json()["is_enabled"],
        false
    );
}

#[test]
fn deliveries_are_paused_and_resumed_by_scope() {
    let desk = Desk::new();
    desk.ok(&["campaign", "apply", "fair.toml", "--start"]);
    let args = [
        "delivery",
        "pause",
        "--campaign",
        "fair",
        "--reason",
        "wrong codes",
    ];
    assert_eq!(desk.ok(&args).stdout, "paused\n");
    assert_eq!(
        desk.run(&["delivery", "pause", "--campaign", "none", "--reason", "try"])
            .code,
        Some(1)
    );
    assert_eq!(desk.run(&["delivery", "pause"]).code, Some(2));
    let resumed = desk.ok(&[
        "delivery",
        "resume",
        "--campaign",
        "fair",
        "--reason",
        "new",
    ]);
    assert_eq!(resumed.stdout, "resumed, 0 held awards released\n");
    let nothing = desk.run(&["delivery", "resume", "--reason", "all"]);
    assert_eq!(
        nothing.stderr,
        "error: Nothing of that scope is paused (not_paused)\n"
    );
}

#[test]
fn empty_lists_are_a_heading_and_a_new_database_has_the_newest_schema() {
    let desk = Desk::new();
    desk.ok(&["campaign", "apply", "fair.toml"]);
    for list in [
        &["dead-letter", "list"][..],
        &["award", "list"],
        &["draw", "list", "fair"],
    ] {
        assert_eq!(desk.ok(list).stdout.lines().count(), 1, "{list:?}");
        assert_eq!(
            desk.ok(&[list, &["--json"]].concat()).stdout,
            "",
            "{list:?}"
        );
    }
    let none = desk
        .ok(&["dead-letter", "requeue", "--all", "--dry-run", "--json"])
        .json();
    assert_eq!(
        (&none["matched"], &none["dry_run"]),
        (&json!(0), &json!(true))
    );
    assert_eq!(
        desk.ok(&["migrate", "status", "--json"]).json()["is_newest"],
        true
    );
    let newest = desk.ok(&["migrate", "status", "--json"]).json()["newest"].clone();
    assert_eq!(
        desk.ok(&["migrate", "up"]).stdout,
        format!("schema {newest} of {newest}: up to date\n")
    );
}
