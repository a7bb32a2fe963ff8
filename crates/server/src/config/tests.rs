//! Sources over sources, and what is told of a bad one.

use super::*;
use std::path::PathBuf;

fn from_file(text: &str) -> Result<Loaded, ConfigError> {
    load(&Sources {
        file: Some((PathBuf::from("tombola.toml"), text.to_owned())),
        ..Sources::default()
    })
}

#[test]
fn each_source_overrides_the_weaker_ones_and_is_remembered() {
    let sources = Sources {
        file: Some((
            "tombola.toml".into(),
            "[http]\nlisten = \"127.0.0.1:1\"\nconnections_max = 7\n".into(),
        )),
        env: vec![
            ("TOMBOLA_HTTP__LISTEN".into(), "127.0.0.1:2".into()),
            ("TOMBOLA_BROKER__PARTITIONS".into(), "3".into()),
            ("TOMBOLA_API_KEY".into(), "not a setting".into()),
        ],
        flags: vec![Flag {
            flag: "--listen",
            key: "http.listen",
            value: "127.0.0.1:3".into(),
        }],
    };
    let loaded = load(&sources).unwrap();
    assert_eq!(loaded.config.http.listen, "127.0.0.1:3");
    assert_eq!(loaded.config.http.connections_max, 7);
    assert_eq!(loaded.config.broker.partitions, 3);
    let origin = |key: &str| loaded.origins[key].to_string();
    assert_eq!(origin("http.listen"), "--listen");
    assert_eq!(origin("http.connections_max"), "tombola.toml:3");
    assert_eq!(origin("broker.partitions"), "TOMBOLA_BROKER__PARTITIONS");
    assert_eq!(origin("broker.url"), "default");
}

#[test]
fn unknown_key_of_each_source_is_an_error_that_names_the_nearest() {
    let sources = Sources {
        file: Some((
            "tombola.toml".into(),
            "[http]\nlisten_on = \"x\"\n[htp]\na = 1\n".into(),
        )),
        env: vec![("TOMBOLA_DELIVERY__LEASETIME".into(), "60s".into())],
        flags: Vec::new(),
    };
    let ConfigError(problems) = load(&sources).unwrap_err();
    assert_eq!(
        problems[0],
        "tombola.toml:2: no key is called `http.listen_on`; did you mean `http.listen`?"
    );
    assert!(
        problems[1].starts_with("tombola.toml:4: no key is called `htp.a`"),
        "{}",
        problems[1]
    );
    assert_eq!(
        problems[2],
        "TOMBOLA_DELIVERY__LEASETIME: no key is called `delivery.leasetime`; did you mean `delivery.lease_time`?"
    );
}

#[test]
fn bad_values_are_told_with_key_and_place() {
    let ConfigError(problems) =
        from_file("[delivery]\nlease_time = \"soon\"\nattempts_max = \"12\"\n").unwrap_err();
    assert_eq!(
        problems[0],
        "tombola.toml:3: `delivery.attempts_max` is of type string, and has to be integer"
    );
    assert!(
        problems[1].starts_with("tombola.toml:2: `delivery.lease_time`: write a whole number"),
        "{}",
        problems[1]
    );
    let ConfigError(problems) = from_file("[delivery]\nlease_time = \"40s\"\n").unwrap_err();
    assert!(
        problems[0].starts_with("tombola.toml:2: `delivery.lease_time`: use more than 40s"),
        "{}",
        problems[0]
    );
    let ConfigError(problems) = from_file("[http\n").unwrap_err();
    assert!(
        problems[0].starts_with("tombola.toml:1: "),
        "{}",
        problems[0]
    );
}

#[test]
fn urls_that_name_no_database_are_refused_plainly() {
    for (url, expected) in [
        (
            "mysql://db",
            "use sqlite://PATH or postgres://USER:PASSWORD@HOST/DATABASE",
        ),
        ("postgres://h/d?sslmode=allow", "sslmode=allow is not known"),
    ] {
        let text = format!("[database]\nurl = \"{url}\"\n");
        let ConfigError(problems) = from_file(&text).unwrap_err();
        assert!(problems[0].contains(expected), "{}", problems[0]);
    }
    let ConfigError(problems) = from_file("[broker]\nurl = \"kafka://h:9092\"\n").unwrap_err();
    assert!(
        problems[0].contains("this build has no Kafka yet"),
        "{}",
        problems[0]
    );
}

#[test]
fn password_of_the_database_is_not_shown() {
    for (url, shown) in [
        (
            "postgres://u:geheim@h:5432/d?sslmode=disable",
            "postgres://u:…@h:5432/d?sslmode=disable",
        ),
        ("postgres://u@h/d", "postgres://u@h/d"),
        ("sqlite://./a@b:c/t.db", "sqlite://./a@b:c/t.db"),
    ] {
        let database = Database {
            url: url.to_owned(),
            ..Database::default()
        };
        assert_eq!(database.url_shown(), shown);
    }
}

#[test]
fn url_of_the_database_may_stand_in_a_file() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("url");
    std::fs::write(&path, "postgres://u:p@h/d\n").unwrap();
    let text = format!("[database]\nurl_file = \"{}\"\n", path.display());
    let database = from_file(&text).unwrap().config.database;
    assert_eq!(database.url, "postgres://u:p@h/d");
    let ConfigError(problems) = from_file("[database]\nurl_file = \"no/such\"\n").unwrap_err();
    assert!(
        problems[0].contains("`database.url_file`: no/such"),
        "{problems:?}"
    );
}

#[test]
fn defaults_are_valid() {
    assert_eq!(load(&Sources::default()).unwrap().config, Config::default());
}

#[test]
fn lease_and_grace_are_longer_than_what_they_have_to_outlast_and_may_be_by_a_moment() {
    use std::time::Duration;
    use tombola_core::limits;
    let refused = |key: &str, span: Duration| {
        let text = format!("[delivery]\n{key} = \"{}ms\"\n", span.as_millis());
        from_file(&text).is_err()
    };
    let moment = Duration::from_millis(1);
    let outlasted = [
        (
            "lease_time",
            limits::CALL_TIMEOUT_MAX + limits::RECORD_ALLOWANCE,
        ),
        (
            "grace_first",
            limits::PUBLISH_TIMEOUT.max(limits::HANDOFF_AGE_MAX),
        ),
    ];
    for (key, span) in outlasted {
        assert!(refused(key, span), "{key}");
        assert!(!refused(key, span + moment), "{key}");
    }
}
