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
fn what_this_build_has_not_got_is_said_plainly() {
    let desk = Desk::new();
    let refused = |name: &str, value: &str| {
        let mut command = desk.command(&["serve"]);
        command.env(name, value);
        said(command)
    };
    let mysql = refused("TOMBOLA_DATABASE__URL", "mysql://db/tombola");
    assert_eq!(mysql.code, Some(2));
    assert!(
        mysql
            .stderr
            .contains("use sqlite://PATH or postgres://USER:PASSWORD@HOST/DATABASE"),
        "{mysql:?}"
    );
    let kafka = refused("TOMBOLA_BROKER__URL", "kafka://h1:9092");
    assert!(
        kafka.code == Some(2) && kafka.stderr.contains("this build has no Kafka yet"),
        "{kafka:?}"
    );
    let split = desk.run(&["serve", "--roles", "api,rescue"]);
    assert_eq!(split.code, Some(2));
    assert!(split.stderr.contains("worker is missing"), "{split:?}");
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
