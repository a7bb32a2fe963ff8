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
fn pools_are_as_large_as_their_bounds_and_no_larger() {
    let bounds = tombola_core::limits::DATABASE_CONNECTIONS_ASKED;
    for key in ["connections_max", "read_connections_max"] {
        let with = |count: u32| from_file(&format!("[database]\n{key} = {count}\n"));
        assert!(with(*bounds.start()).is_ok() && with(*bounds.end()).is_ok());
        for count in [bounds.start() - 1, bounds.end() + 1] {
            let ConfigError(problems) = with(count).unwrap_err();
            let expected = format!("tombola.toml:2: `database.{key}`: use 1 to 1000");
            assert_eq!(problems, [expected]);
        }
    }
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
}

#[test]
fn password_of_the_database_is_not_shown() {
    for (url, shown) in [
        (
            "postgres://u:geheim@h:5432/d?sslmode=disable",
            "postgres://u:…@h:5432/d?sslmode=disable",
        ),
        ("postgres://u@h/d", "postgres://u@h/d"),
        ("postgres://h:5432,i:5433/d", "postgres://h:5432,i:5433/d"),
        ("postgresql://u:ge/he/im@h", "postgresql://u:…@h"),
        ("postgres://u:ge@heim@h/d", "postgres://u:…@h/d"),
        ("postgres://u:ge?heim@h/d", "postgres://…"),
        (
            "postgres://u@h/d?password=geheim&sslmode=disable",
            "postgres://u@h/d?password=…&sslmode=disable",
        ),
        (
            "postgres:///d?host=h&user=u&password=ge@heim",
            "postgres://…",
        ),
        (
            "postgres://h/d?pass%77ord=geheim&user=u",
            "postgres://h/d?pass%77ord=…&user=u",
        ),
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
fn url_is_stronger_than_a_file_that_was_named_before_it() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("url");
    std::fs::write(&path, "postgres://u:p@h/d\n").unwrap();
    let file = format!("[database]\nurl_file = \"{}\"\n", path.display());
    let by = |file: &str, env: &[(&str, &str)]| {
        let env = env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        load(&Sources {
            file: Some(("tombola.toml".into(), file.to_owned())),
            env: env.collect(),
            flags: vec![],
        })
    };
    let url = [("TOMBOLA_DATABASE__URL", "sqlite://a/b.db")];
    let loaded = by(&file, &url).unwrap().config.database;
    assert_eq!((&*loaded.url, &*loaded.url_file), ("sqlite://a/b.db", ""));
    let of_env = [("TOMBOLA_DATABASE__URL_FILE", path.to_str().unwrap())];
    let loaded = by("[database]\nurl = \"sqlite://a/b.db\"\n", &of_env);
    assert_eq!(loaded.unwrap().config.database.url, "postgres://u:p@h/d");
    let both = format!("{file}url = \"sqlite://a/b.db\"\n");
    let ConfigError(problems) = by(&both, &[]).unwrap_err();
    assert!(problems[0].contains("leave one out"), "{problems:?}");
}

#[test]
fn broker_that_is_none_of_ours_is_refused_plainly() {
    for url in ["kafka://", "amqp://h", "kafka://h1:9092/topic"] {
        let ConfigError(problems) = from_file(&format!("[broker]\nurl = \"{url}\"\n")).unwrap_err();
        assert_eq!(
            problems,
            [
                "tombola.toml:2: `broker.url`: use memory:, or kafka://HOST:PORT with commas between brokers"
            ],
            "{url}"
        );
    }
}

const ON_KAFKA: &str = "[broker]\nurl = \"kafka://h1:9092\"\n";

#[test]
fn settings_of_librdkafka_come_quoted_or_not_and_from_variables_over_the_file() {
    let text = "[broker.kafka]\nsecurity.protocol = \"SSL\"\n\"linger.ms\" = 5\n";
    let sources = Sources {
        file: Some(("tombola.toml".into(), format!("{ON_KAFKA}{text}"))),
        env: vec![("TOMBOLA_BROKER__KAFKA__LINGER_MS".into(), "7".into())],
        flags: Vec::new(),
    };
    let loaded = load(&sources).unwrap();
    let options = loaded.config.broker.kafka(1).unwrap();
    assert_eq!(options.brokers, "h1:9092");
    let settings: Vec<_> = options.settings.iter().map(|(a, b)| (&**a, &**b)).collect();
    assert_eq!(settings, [("linger.ms", "7"), ("security.protocol", "SSL")]);
    let origin = loaded.origins["broker.kafka.linger.ms"].to_string();
    assert_eq!(origin, "TOMBOLA_BROKER__KAFKA__LINGER_MS");
}

#[test]
fn setting_of_librdkafka_that_cannot_be_is_told_by_its_name() {
    let refused = |line: &str| {
        let ConfigError(problems) =
            from_file(&format!("{ON_KAFKA}[broker.kafka]\n{line}\n")).unwrap_err();
        problems.join("\n")
    };
    let acks = refused("acks = 1");
    assert!(
        acks.starts_with("tombola.toml:3: broker.kafka.acks cannot be `1`: "),
        "{acks}"
    );
    let unknown = refused("\"sasl.pasword\" = \"x\"");
    assert!(unknown.contains("sasl.pasword"), "{unknown}");
    let list = refused("\"ssl.ca.location\" = [\"a\"]");
    assert!(
        list.ends_with("`broker.kafka.ssl.ca.location` has to be a text, a number, true or false"),
        "{list}"
    );
}

#[test]
fn secret_of_librdkafka_is_read_from_its_file_and_may_not_come_twice() {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("password");
    std::fs::write(&file, "open sesame\n").unwrap();
    let line = format!("\"sasl.password_file\" = {:?}\n", file.to_str().unwrap());
    let text = format!("{ON_KAFKA}[broker.kafka]\n{line}");
    let loaded = from_file(&text).unwrap();
    assert_eq!(loaded.config.broker.kafka["sasl.password"], "open sesame");
    let ConfigError(problems) =
        from_file(&format!("{text}\"sasl.password\" = \"x\"\n")).unwrap_err();
    assert!(problems[0].contains("keep one of them"), "{problems:?}");
    std::fs::remove_file(&file).unwrap();
    let ConfigError(problems) = from_file(&text).unwrap_err();
    assert!(
        problems[0].starts_with("`broker.kafka.sasl.password_file`: "),
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

const ADOPT: &str = "[delivery]\nforeign = \"adopt\"\n";

#[test]
fn what_another_system_draws_is_adopted_by_a_map_of_prizes() {
    let text =
        format!("{ADOPT}[delivery.foreign_prizes]\n1 = \"fair/phone\"\n\"a b\" = \"fair/mug\"\n");
    let delivery = from_file(&text).unwrap().config.delivery;
    let adopt = delivery.adopt(3).unwrap();
    assert_eq!((&*adopt.source, adopt.claim_key_version), ("lottery", 3));
    let prize = |award_id: &str| {
        let prize = &adopt.prizes[award_id];
        format!("{}/{}", prize.campaign, prize.prize)
    };
    assert_eq!(prize("1"), "fair/phone");
    assert_eq!(prize("a b"), "fair/mug");
    let variable = Sources {
        env: vec![
            ("TOMBOLA_DELIVERY__FOREIGN".into(), "adopt".into()),
            (
                "TOMBOLA_DELIVERY__FOREIGN_PRIZES".into(),
                "1=fair/phone, a b = fair/mug".into(),
            ),
        ],
        ..Sources::default()
    };
    let same = load(&variable).unwrap().config.delivery;
    assert_eq!(same.foreign_prizes, delivery.foreign_prizes);
    assert_eq!(Config::default().delivery.adopt(3), None);
}

#[test]
fn map_and_its_use_come_together_and_the_map_names_prizes() {
    let map = |prize: &str| format!("[delivery.foreign_prizes]\n1 = {prize}\n");
    for (text, told) in [
        (ADOPT.to_owned(), "needs it: name a prize for each awardId"),
        (map("\"fair/mug\""), "of no use without delivery.foreign"),
        (
            format!("{ADOPT}{}", map("\"mug\"")),
            "\"1\" = \"mug\": write CAMPAIGN/PRIZE",
        ),
        (
            format!("{ADOPT}{}", map("\"Fair/mug\"")),
            "write CAMPAIGN/PRIZE",
        ),
        (
            format!("{ADOPT}{}", map("7")),
            "`delivery.foreign_prizes`: invalid type",
        ),
        (
            format!("{ADOPT}foreign_source = \"\"\n{}", map("\"fair/mug\"")),
            "`delivery.foreign_source`: use 1 to 64",
        ),
        (
            "[delivery]\nforeign = \"drop\"\n".to_owned(),
            "expected `dead_letter` or `adopt`",
        ),
    ] {
        let ConfigError(problems) = from_file(&text).unwrap_err();
        assert!(problems[0].contains(told), "{text}{problems:?}");
    }
}
