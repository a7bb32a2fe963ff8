//! Aim: what is shipped to run it with (image, compose file, units, settings, secrets) speaks of the
//! commands, settings and times that this version has.

use crate::world::Desk;
use clap::Parser as _;
use saphyr::{LoadableYamlNode as _, YamlOwned};
use serde_json::{Map, Value};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tombola_server::cli::Cli;
use tombola_server::config::{Config, Sources, load};

/// Variables that are no settings.
const OTHERS: [&str; 2] = ["TOMBOLA_CONFIG", "TOMBOLA_BOOTSTRAP_KEY_FILE"];
const UNITS: [&str; 2] = ["tombola.service", "tombola@.service"];
const SECRETS: &str = "/run/secrets/";
/// The services of the compose file that are not ours.
const SERVERS: [&str; 2] = ["postgres", "kafka"];

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy")
}

fn text(name: &str) -> String {
    std::fs::read_to_string(deploy().join(name)).unwrap()
}

/// The compose file, with the members of each `<<` put in as compose does.
fn compose() -> Value {
    let documents = YamlOwned::load_from_str(&text("compose.yaml")).unwrap();
    assert_eq!(documents.len(), 1);
    plain(&documents[0])
}

fn plain(node: &YamlOwned) -> Value {
    if let Some(members) = node.as_mapping() {
        let mut own = Map::new();
        let mut merged = Map::new();
        for (name, value) in members {
            match (name.as_str().unwrap(), plain(value)) {
                ("<<", Value::Object(more)) => merged.extend(more),
                (name, value) => drop(own.insert(name.to_owned(), value)),
            }
        }
        merged.extend(own);
        Value::Object(merged)
    } else if let Some(items) = node.as_sequence() {
        items.iter().map(plain).collect()
    } else if let Some(text) = node.as_str() {
        text.into()
    } else if let Some(is) = node.as_bool() {
        is.into()
    } else if let Some(number) = node.as_integer() {
        number.into()
    } else {
        assert!(node.is_null(), "{node:?}");
        Value::Null
    }
}

/// The services that run `tombola`, by name.
fn ours(compose: &Value) -> Vec<(&String, &Value)> {
    let services = compose["services"].as_object().unwrap();
    let ours = services
        .iter()
        .filter(|(name, _)| !SERVERS.contains(&name.as_str()));
    ours.collect()
}

fn words(list: &Value) -> Vec<&str> {
    let words = list.as_array().into_iter().flatten();
    words.map(|word| word.as_str().unwrap()).collect()
}

/// Panics unless the command line is one of ours.
fn must_parse(args: &[&str]) {
    let all = [&["tombola"], args].concat();
    if let Err(error) = Cli::try_parse_from(all) {
        panic!("{args:?}: {error}");
    }
}

/// Panics unless the loader of the server takes the file and the variables; secrets are read where
/// they were made.
fn loaded(file: &str, env: &[(String, String)]) -> Config {
    let temp = tempfile::tempdir().unwrap();
    let made = temp.path().join("made");
    make_secrets(&made);
    let made = format!("{}/", made.display());
    let placed = |text: &str| text.replace(SECRETS, &made).replace("%d/", &made);
    for (name, _) in env {
        let is_known = name.contains("__") || OTHERS.contains(&name.as_str());
        assert!(is_known, "{name}");
    }
    let sources = Sources {
        file: Some((PathBuf::from("tombola.toml"), placed(file))),
        env: env
            .iter()
            .map(|(name, value)| (name.clone(), placed(value)))
            .collect(),
        flags: Vec::new(),
    };
    load(&sources).unwrap().config
}

fn stop_deadline() -> Duration {
    Config::default().http.stop_deadline.0
}

/// Reads `40s`.
fn seconds(text: &str) -> Duration {
    Duration::from_secs(text.strip_suffix('s').unwrap().parse().unwrap())
}

#[test]
fn compose_runs_commands_that_are_there_with_settings_that_are_known() {
    let compose = compose();
    let mut roles = Vec::new();
    for (name, service) in ours(&compose) {
        let command = words(&service["command"]);
        must_parse(&command);
        if let ["serve", "--roles", role] = command[..] {
            roles.push(role);
            let grace = service["stop_grace_period"].as_str().unwrap();
            assert!(seconds(grace) > stop_deadline(), "{name}: {grace}");
        }
        let env: Vec<_> = service["environment"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
            .collect();
        let config = loaded(&text("tombola.toml"), &env);
        assert!(config.broker.brokers().is_some());
        let file = service["configs"][0]["target"].as_str();
        assert_eq!(file, service["environment"]["TOMBOLA_CONFIG"].as_str());
    }
    roles.sort_unstable();
    assert_eq!(roles, ["api", "rescue", "worker"]);
}

#[test]
fn each_secret_that_is_read_is_mounted_and_made() {
    let compose = compose();
    let temp = tempfile::tempdir().unwrap();
    make_secrets(&temp.path().join("made"));
    for (name, secret) in compose["secrets"].as_object().unwrap() {
        assert_eq!(secret["file"], format!("./secrets/{name}"));
        assert!(temp.path().join("made").join(name).exists(), "{name}");
    }
    for (name, service) in compose["services"].as_object().unwrap() {
        let mounted = words(&service["secrets"]);
        let mut texts: Vec<_> = service["environment"]
            .as_object()
            .unwrap()
            .values()
            .collect();
        let settings = Value::from(text("tombola.toml"));
        if !SERVERS.contains(&name.as_str()) {
            texts.push(&settings);
        }
        for read in texts
            .into_iter()
            .filter_map(Value::as_str)
            .flat_map(secrets_in)
        {
            assert!(mounted.contains(&read), "{name} reads {read}");
            assert!(compose["secrets"][read].is_object(), "{read}");
        }
    }
}

/// Names behind `/run/secrets/`.
fn secrets_in(text: &str) -> impl Iterator<Item = &str> {
    let ends = |letter: char| !letter.is_ascii_alphanumeric() && letter != '-';
    text.split(SECRETS)
        .skip(1)
        .map(move |rest| rest.split(ends).next().unwrap())
}

#[test]
fn processes_of_compose_leave_connections_of_postgresql_over() {
    let compose = compose();
    let ours = ours(&compose);
    let processes: u64 = ours
        .iter()
        .map(|(_, service)| service["deploy"]["replicas"].as_u64().unwrap_or_default())
        .sum();
    let database = loaded(&text("tombola.toml"), &[]).database;
    let each = database.connections_max + database.read_connections_max;
    assert_eq!(processes, 6);
    assert!(processes * u64::from(each) < 90, "PostgreSQL has a hundred");
}

fn make_secrets(directory: &Path) -> String {
    let mut script = Command::new("sh");
    script.arg(deploy().join("make-secrets")).arg(directory);
    let said = crate::world::said(script);
    assert_eq!(said.code, Some(0), "{said:?}");
    said.stderr
}

#[test]
fn made_secrets_are_taken_and_never_made_anew() {
    let desk = Desk::new();
    let secrets = desk.path("made");
    make_secrets(&secrets);
    std::fs::create_dir(desk.data()).unwrap();
    std::fs::copy(secrets.join("secret-key"), desk.data().join("secret.key")).unwrap();
    let key = secrets.join("bootstrap-key");
    let given = [("TOMBOLA_BOOTSTRAP_KEY_FILE", key.to_str().unwrap())];
    let server = desk.serve_with(&given);
    assert_eq!(server.stop().code, Some(0));
    let listed = desk.ok(&["key", "list", "--json"]).json_lines();
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert!(!desk.data().join("admin.key").exists());

    let url = std::fs::read_to_string(secrets.join("database-url")).unwrap();
    let password = std::fs::read_to_string(secrets.join("postgres-password")).unwrap();
    assert!(url.contains(&format!(":{password}@postgres/")), "{url}");
    let before = std::fs::read(secrets.join("secret-key")).unwrap();
    let mut again = Command::new("sh");
    again.arg(deploy().join("make-secrets")).arg(&secrets);
    assert_eq!(crate::world::said(again).code, Some(1));
    assert_eq!(std::fs::read(secrets.join("secret-key")).unwrap(), before);
}

#[test]
fn image_runs_our_commands_as_a_user_without_rights() {
    let text = text("Dockerfile");
    let lines = || text.lines().filter(|line| !line.starts_with('#'));
    let of = |name: &str| {
        let found: Vec<_> = lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
            .collect();
        assert!(!found.is_empty(), "no {name}");
        found
    };
    let list = |text: &str| serde_json::from_str::<Vec<String>>(text).unwrap();
    let (_, check) = of("HEALTHCHECK")[0].split_once("CMD ").unwrap();
    for command in [list(check)[1..].to_vec(), list(of("CMD")[0])] {
        must_parse(&command.iter().map(String::as_str).collect::<Vec<_>>());
    }
    assert_eq!(list(check)[0], "tombola");
    assert_eq!(list(of("ENTRYPOINT")[0]), ["tombola"]);
    assert_eq!(of("USER"), ["10001:10001"]);
    for image in of("FROM") {
        let tag = image.split(' ').next().unwrap().split_once(':');
        assert!(tag.is_some_and(|(_, tag)| tag != "latest"), "{image}");
    }
    for setting in of("ENV") {
        let (name, value) = setting.split_once('=').unwrap();
        loaded("", &[(name.to_owned(), value.to_owned())]);
    }
    // What it copies from the build is what the build is told to make.
    assert!(text.contains("target/release/tombola"));
    let ignored = std::fs::read_to_string(deploy().join("Dockerfile.dockerignore")).unwrap();
    let root = deploy().join("..");
    for kept in ignored.lines().filter_map(|line| line.strip_prefix('!')) {
        assert!(root.join(kept).exists(), "{kept}");
    }
}

#[test]
fn units_run_our_commands_and_give_a_stop_its_time() {
    for name in UNITS {
        let unit = text(name);
        let of = |key: &str| {
            let lines = unit.lines();
            let found: Vec<_> = lines
                .filter_map(|line| line.strip_prefix(key)?.strip_prefix('='))
                .collect();
            found
        };
        let start = of("ExecStart")[0].replace("%i", "worker");
        let start: Vec<_> = start.split(' ').collect();
        assert!(start[0].ends_with("/tombola"));
        must_parse(&start[1..]);
        assert!(seconds(of("TimeoutStopSec")[0]) > stop_deadline());
        let variables = of("Environment").into_iter().map(|line| {
            let (name, value) = line.split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        });
        loaded("", &variables.collect::<Vec<_>>());
    }
}

#[test]
fn units_are_taken_by_systemd_and_leave_a_process_few_rights() {
    let here = Command::new("systemd-analyze").arg("--version").output();
    if !here.is_ok_and(|output| output.status.success()) {
        let mut out = std::io::stdout().lock();
        writeln!(out, "tombola-skip: units: there is no systemd-analyze").unwrap();
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    for name in UNITS {
        let unit = text(name).replace("/usr/local/bin/tombola", env!("CARGO_BIN_EXE_tombola"));
        let path = temp.path().join(name.replace("@.", "@worker."));
        std::fs::write(&path, unit).unwrap();
        let mut verify = Command::new("systemd-analyze");
        verify.arg("verify").arg(&path);
        let said = crate::world::said(verify);
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{name}");
        let mut security = Command::new("systemd-analyze");
        // In tenths; 20 is what systemd calls OK.
        security.args(["security", "--offline=yes", "--threshold=15"]);
        let said = crate::world::said({
            security.arg(&path);
            security
        });
        assert_eq!(said.code, Some(0), "{}", said.stdout);
    }
}
