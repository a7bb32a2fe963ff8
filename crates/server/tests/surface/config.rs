//! Settings as a person meets them: exit code 2 and a line that says what to write.

use crate::world::{Desk, said};
use serde_json::json;

#[test]
fn unknown_key_names_the_nearest_and_ends_with_2() {
    let desk = Desk::new();
    std::fs::write(
        desk.path("tombola.toml"),
        "[http]\nlisten_to = \"127.0.0.1:1\"\n",
    )
    .unwrap();
    for command in [&["config", "check"][..], &["campaign", "list"], &["serve"]] {
        let refused = desk.run(command);
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert_eq!(refused.stdout, "");
        assert_eq!(
            refused.stderr,
            "error: the config cannot be used:\n\
             tombola.toml:2: no key is called `http.listen_to`; did you mean `http.listen`?\n"
        );
    }
    std::fs::remove_file(desk.path("tombola.toml")).unwrap();
    let mut command = desk.command(&["config", "check"]);
    command.env("TOMBOLA_DELIVERY__ATEMPTS_MAX", "3");
    let refused = said(command);
    assert_eq!(refused.code, Some(2));
    assert!(
        refused
            .stderr
            .contains("did you mean `delivery.attempts_max`?"),
        "{refused:?}"
    );
}

#[test]
fn show_says_where_each_value_came_from() {
    let desk = Desk::new();
    std::fs::write(desk.path("tombola.toml"), "[delivery]\nattempts_max = 3\n").unwrap();
    let mut command = desk.command(&["config", "show", "--origin", "--json", "--data", "here"]);
    command.env("TOMBOLA_HTTP__LISTEN", "127.0.0.1:9");
    let shown = said(command).json();
    assert_eq!(
        shown["config"]["database"]["url"],
        "sqlite://here/tombola.db"
    );
    let origins = [
        ("database.url", "--data"),
        ("delivery.attempts_max", "tombola.toml:2"),
        ("http.listen", "TOMBOLA_HTTP__LISTEN"),
        ("broker.topic", "default"),
    ];
    for (key, origin) in origins {
        assert_eq!(shown["origin"][key], json!(origin), "{key}");
    }
    let table = desk.ok(&["config", "show", "--origin"]);
    assert!(
        table
            .stdout
            .contains("attempts_max = 3  # tombola.toml:2\n"),
        "{table:?}"
    );
}

#[test]
fn databases_brokers_and_roles_that_do_not_go_together_are_refused_plainly() {
    let desk = Desk::new();
    let refused = |roles: &str, variables: &[(&str, &str)]| {
        let mut command = desk.command(&["serve", "--roles", roles]);
        command.envs(variables.iter().copied());
        let refused = said(command);
        assert_eq!(refused.code, Some(2), "{refused:?}");
        refused.stderr
    };
    let all = "api,worker,rescue";
    let postgres = refused(all, &[("TOMBOLA_DATABASE__URL", "postgres://")]);
    assert!(postgres.contains("`database.url`: "), "{postgres}");
    let kafka = refused(all, &[("TOMBOLA_BROKER__URL", "kafka://h1:9092/x")]);
    assert!(
        kafka.contains("use memory:, or kafka://HOST:PORT"),
        "{kafka}"
    );
    let on_kafka = ("TOMBOLA_BROKER__URL", "kafka://h1:9092");
    let acks = refused(all, &[on_kafka, ("TOMBOLA_BROKER__KAFKA__ACKS", "0")]);
    assert!(
        acks.contains("TOMBOLA_BROKER__KAFKA__ACKS: broker.kafka.acks cannot be `0`"),
        "{acks}"
    );
    let in_memory = refused("api,rescue", &[]);
    assert!(
        in_memory.contains("broker.url = \"memory:\"") && in_memory.contains("worker is missing")
    );
    let on_file = refused("worker", &[on_kafka]);
    assert!(
        on_file.contains("database.url = \"sqlite://…\"") && on_file.contains("api is missing")
    );
}

#[test]
fn secrets_of_kafka_are_shown_to_nobody() {
    let desk = Desk::new();
    let show = |args: &[&str]| {
        let mut command = desk.command(args);
        command
            .env("TOMBOLA_BROKER__URL", "kafka://h1:9092")
            .env("TOMBOLA_BROKER__KAFKA__SASL_USERNAME", "ann")
            .env("TOMBOLA_BROKER__KAFKA__SASL_PASSWORD", "open sesame");
        said(command)
    };
    let table = show(&["config", "show", "--origin"]).stdout;
    assert!(
        table.contains(
            "[broker.kafka]\n\"sasl.password\" = \"…\"  # TOMBOLA_BROKER__KAFKA__SASL_PASSWORD\n\
             \"sasl.username\" = \"ann\"  # TOMBOLA_BROKER__KAFKA__SASL_USERNAME\n"
        ),
        "{table}"
    );
    let document = show(&["config", "show", "--json"]);
    assert_eq!(document.json()["broker"]["kafka"]["sasl.username"], "ann");
    for shown in [table, document.stdout] {
        assert!(!shown.contains("sesame"), "{shown}");
    }
}

#[test]
fn topic_in_memory_says_that_there_is_nothing_to_make() {
    let desk = Desk::new();
    for command in ["create", "describe"] {
        let shown = desk.ok(&["topic", command]);
        assert!(
            shown.stdout.contains("in the memory of the server"),
            "{shown:?}"
        );
        assert_eq!(
            desk.ok(&["topic", command, "--json"]).json()["in_memory"],
            true
        );
    }
    let afar = desk.run(&["topic", "describe", "--server", "http://h:1"]);
    assert_eq!(afar.code, Some(2), "{afar:?}");
    assert!(!desk.path("tombola-data").exists(), "no database was made");
}

#[test]
fn wrong_usage_ends_with_2_and_help_with_0() {
    let desk = Desk::new();
    for wrong in [
        &["no-such-command"][..],
        &["draw"],
        &["award", "hold", "1"],
        &["dead-letter", "requeue"],
    ] {
        let refused = desk.run(wrong);
        assert_eq!(
            (refused.code, refused.stdout.as_str()),
            (Some(2), ""),
            "{refused:?}"
        );
    }
    let help = desk.ok(&["campaign", "--help"]);
    assert!(help.stdout.contains("validate") && help.stderr.is_empty());
    assert_eq!(
        desk.ok(&["--version"]).stdout,
        concat!("tombola ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn reference_writes_every_generated_file() {
    let desk = Desk::new();
    desk.ok(&["reference", "out"]);
    for (file, word) in [
        ("config.example.toml", "# lease_time = \"1m\""),
        (
            "docs/reference/config.md",
            "| `listen` | `\"127.0.0.1:8080\"` |",
        ),
        ("docs/reference/errors.md", "## `request_key_reused`"),
        ("docs/reference/cli.md", "`tombola campaign apply`"),
    ] {
        let text = std::fs::read_to_string(desk.path("out").join(file)).unwrap();
        assert!(text.contains(word), "{file} has no {word}:\n{text}");
    }
}
