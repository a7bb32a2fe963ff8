//! The official Standard Webhooks library of another language verifies what we sign:
//! that of npm, pinned with its hashes in `tests/standardwebhooks`, in a receiver that
//! real deliveries of the real binary come to.

use crate::world::{Desk, Said};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const CAMPAIGN: &str = r#"
[campaign]
slug = "hook"
name = "Hook"
[[prize]]
slug = "coupon"
name = "Coupon"
kind = "webhook"
endpoint = "shop"
odds = "100%"
"#;

/// The folder with the receiver and the library; or why there is none here.
fn installed() -> Result<PathBuf, String> {
    for program in ["node", "npm"] {
        if Command::new(program).arg("--version").output().is_err() {
            return Err(format!("no `{program}` on this machine"));
        }
    }
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/standardwebhooks");
    let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join("standardwebhooks");
    fs::create_dir_all(&to).unwrap();
    for file in ["package.json", "package-lock.json", "receiver.mjs"] {
        fs::copy(from.join(file), to.join(file)).unwrap();
    }
    let lock = fs::read(from.join("package-lock.json")).unwrap();
    let marker = to.join("installed.lock");
    if fs::read(&marker).is_ok_and(|it| it == lock) {
        return Ok(to);
    }
    let install = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
    let output = Command::new("npm")
        .args(install)
        .arg("--fetch-retries=0")
        .current_dir(&to)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // Another archive than the one that was pinned, or a lock that does not fit.
    let is_wrong = said.contains("EINTEGRITY") || said.contains("EUSAGE");
    assert!(!is_wrong, "{said}");
    if !output.status.success() {
        let why = said.lines().next().unwrap_or_default();
        return Err(format!("`npm ci` gets no packages here: {why}"));
    }
    fs::write(marker, lock).unwrap();
    Ok(to)
}

/// The receiver; it ends with this.
struct Receiver {
    child: Child,
    tell: ChildStdin,
    hear: BufReader<ChildStdout>,
    url: String,
    secrets: BTreeMap<&'static str, String>,
}

impl Receiver {
    fn start(folder: &Path) -> Self {
        let mut child = Command::new("node")
            .arg("receiver.mjs")
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let tell = child.stdin.take().unwrap();
        let mut hear = BufReader::new(child.stdout.take().unwrap());
        let mut url = String::new();
        hear.read_line(&mut url).unwrap();
        Self {
            child,
            tell,
            hear,
            url: url.trim().to_owned(),
            secrets: BTreeMap::new(),
        }
    }

    /// The next line; the receiver's own patience ends the wait for it.
    fn line(&mut self) -> Value {
        let mut line = String::new();
        let read = self.hear.read_line(&mut line).unwrap();
        assert!(read > 0, "the receiver has ended");
        serde_json::from_str(&line).unwrap()
    }

    /// From now on it knows that secret as well.
    fn knows(&mut self, name: &'static str, secret: &Value) {
        let secret = secret.as_str().unwrap().to_owned();
        self.secrets.insert(name, secret);
        writeln!(self.tell, "{}", json!(self.secrets)).unwrap();
        assert_eq!(self.line(), self.secrets.len());
    }

    /// The next call: of that type, verified by these secrets, each alone, the first
    /// of them in front, and by none when it is changed.
    fn got(&mut self, what: &str, verified: &[&str]) {
        let call = self.line();
        assert_eq!(call["type"], what, "{call}");
        assert_eq!(call["tampered"], json!([]), "{call}");
        let mut by: Vec<&str> = verified.to_vec();
        let signatures = call["signatures"].as_u64();
        assert_eq!(signatures, Some(verified.len().max(1) as u64), "{call}");
        assert_eq!(call["first"].as_str(), by.first().copied(), "{call}");
        by.sort_unstable();
        assert_eq!(call["verified"], json!(by), "{call}");
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn draw(desk: &Desk, user: &str) -> Said {
    desk.ok(&["draw", "hook", "--user", user])
}

fn rotate(desk: &Desk, overlap: &str) -> Value {
    let rotate = ["endpoint", "rotate-secret", "shop", "--reason", "the test"];
    let how = ["--overlap", overlap, "--json"];
    desk.ok(&[&rotate[..], &how].concat()).json()["new_secret"].clone()
}

/// Aim: a receiver in another language, with the official library and nothing of ours,
/// takes our calls before, during and after a rotation.
#[test]
fn official_library_of_npm_verifies_deliveries_before_during_and_after_a_rotation() {
    let folder = match installed() {
        Ok(folder) => folder,
        Err(why) => {
            let line = format!("tombola-skip: standard_webhooks::npm: {why}\n");
            std::io::stdout().write_all(line.as_bytes()).unwrap();
            return;
        }
    };
    let mut receiver = Receiver::start(&folder);
    let desk = Desk::new();
    let _server = desk.serve();
    let endpoint = format!(
        "[[endpoint]]\nname = \"shop\"\nurl = \"{}\"\nidempotent = true\nallow_private = true\n",
        receiver.url
    );
    fs::write(desk.path("endpoints.toml"), endpoint).unwrap();
    fs::write(desk.path("hook.toml"), CAMPAIGN).unwrap();
    let put = desk.ok(&["endpoint", "put", "endpoints.toml", "--json"]);
    desk.ok(&["campaign", "apply", "hook.toml", "--start"]);

    let strange = desk.run(&["endpoint", "test", "shop", "--json"]);
    assert_eq!(strange.json()["decision"], "defer", "{strange:?}");
    receiver.got("endpoint.test", &[]);

    receiver.knows("old", &put.json()["new_secret"]);
    desk.ok(&["endpoint", "test", "shop"]);
    receiver.got("endpoint.test", &["old"]);
    draw(&desk, "u1");
    receiver.got("award.deliver", &["old"]);

    receiver.knows("new", &rotate(&desk, "7d"));
    draw(&desk, "u2");
    receiver.got("award.deliver", &["new", "old"]);

    // Nothing of an overlap is left.
    receiver.knows("newest", &rotate(&desk, "0s"));
    draw(&desk, "u3");
    receiver.got("award.deliver", &["newest"]);

    let delivered = || {
        let list = ["award", "list", "--state", "delivered", "--json"];
        desk.ok(&list).json_lines().len()
    };
    crate::world::until("all three are delivered", || delivered() == 3);
}
