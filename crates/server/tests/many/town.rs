//! A town: a database of its own and the processes on it, each with a directory, all
//! with one file of secrets.

use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;
use tempfile::TempDir;
use tombola_store::postgres::{PostgresOptions, fresh};

/// Nothing here takes longer, or it has failed.
const PATIENCE: Duration = Duration::from_mins(1);
/// The admin key of every town.
pub(crate) const ADMIN: &str = "tmb_a_key_of_the_tests_0123456789abcdef";

/// An answer as it came over the wire.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// The database and its processes.
pub(crate) struct Town {
    temp: TempDir,
    server: PostgresOptions,
    name: String,
    url: String,
    /// Of each process.
    roles: Vec<&'static str>,
    /// Variables of every process.
    settings: Vec<(&'static str, String)>,
    processes: Vec<Mutex<Process>>,
}

/// Everything in one process.
const ALL: &str = "api,worker,rescue";

struct Process {
    child: Child,
    address: String,
    binary: &'static str,
}

/// The binary as shipped.
pub(crate) const TOMBOLA: &str = env!("CARGO_BIN_EXE_tombola");

impl Town {
    /// With so many processes, which all start at once on an empty database; `None` where
    /// there is no PostgreSQL.
    pub(crate) fn new(processes: usize) -> Option<Self> {
        let mut town = Self::empty(vec![ALL; processes], Vec::new())?;
        town.begin();
        Some(town)
    }

    /// The same with these roles and brokers; the topic and the group are the town's own.
    pub(crate) fn with_broker(roles: &[&'static str], broker: &str) -> Option<Self> {
        let temp = tempfile::Builder::new().prefix("t").tempdir().unwrap();
        let name = temp.path().file_name().unwrap().to_str().unwrap();
        let settings = vec![
            ("TOMBOLA_BROKER__URL", broker.to_owned()),
            ("TOMBOLA_BROKER__TOPIC", format!("many_{name}")),
            ("TOMBOLA_BROKER__GROUP", format!("many_{name}")),
            // The least that brokers allow: so long a dead worker keeps its partitions.
            (
                "TOMBOLA_BROKER__KAFKA__SESSION_TIMEOUT_MS",
                "6000".to_owned(),
            ),
        ];
        Self::empty(roles.to_vec(), settings)
    }

    /// The same on the Kafka that the environment names, with the topic made.
    pub(crate) fn on_kafka(roles: &[&'static str]) -> Option<Self> {
        let mut town = Self::without_topic(roles)?;
        let made = town.tombola(&["topic", "create", "--partitions", "8", "--replication", "1"]);
        assert_eq!(made["state"], "made", "{made:#}");
        town.begin();
        Some(town)
    }

    /// The same before its topic is made and anything is started.
    pub(crate) fn without_topic(roles: &[&'static str]) -> Option<Self> {
        let Ok(brokers) = std::env::var("TOMBOLA_TEST_KAFKA") else {
            static SAID: Once = Once::new();
            skip(&SAID, "TOMBOLA_TEST_KAFKA names no brokers");
            return None;
        };
        Self::with_broker(roles, &format!("kafka://{brokers}"))
    }

    /// The same on the brokers behind TLS and a password that the environment names; the password
    /// stands in a file.
    pub(crate) fn behind_tls(roles: &[&'static str], password: &str) -> Option<Self> {
        let of = |name| std::env::var(name).ok();
        let named = of("TOMBOLA_TEST_KAFKA_SECURE").zip(of("TOMBOLA_TEST_KAFKA_CA"));
        let Some((brokers, authority)) = named else {
            static SAID: Once = Once::new();
            skip(&SAID, "TOMBOLA_TEST_KAFKA_SECURE names no brokers");
            return None;
        };
        let mut town = Self::with_broker(roles, &format!("kafka://{brokers}"))?;
        std::fs::write(town.temp.path().join("password"), password).unwrap();
        let settings = [
            ("TOMBOLA_BROKER__KAFKA__SECURITY_PROTOCOL", "SASL_SSL"),
            ("TOMBOLA_BROKER__KAFKA__SSL_CA_LOCATION", &authority),
            ("TOMBOLA_BROKER__KAFKA__SASL_MECHANISM", "SCRAM-SHA-512"),
            ("TOMBOLA_BROKER__KAFKA__SASL_USERNAME", "tombola"),
            ("TOMBOLA_BROKER__KAFKA__SASL_PASSWORD_FILE", "password"),
        ];
        let settings = settings.map(|(name, value)| (name, value.to_owned()));
        town.settings.extend(settings);
        Some(town)
    }

    fn empty(roles: Vec<&'static str>, settings: Vec<(&'static str, String)>) -> Option<Self> {
        let Ok(url) = std::env::var("TOMBOLA_TEST_POSTGRES") else {
            static SAID: Once = Once::new();
            skip(&SAID, "TOMBOLA_TEST_POSTGRES names no server");
            return None;
        };
        Some(Self::at(&url, roles, settings))
    }

    /// On a server of its own, of which the url names the first database.
    pub(crate) fn on(url: &str, processes: usize) -> Self {
        let mut town = Self::at(url, vec![ALL; processes], Vec::new());
        town.begin();
        town
    }

    fn at(url: &str, roles: Vec<&'static str>, settings: Vec<(&'static str, String)>) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let tail = temp.path().file_name().unwrap().to_str().unwrap();
        let name = format!(
            "tombola_many_{}",
            tail.trim_start_matches('.').to_lowercase()
        );
        let server = PostgresOptions::parse(url).unwrap();
        block_on(fresh::create(&server, &name)).unwrap();
        let (url, parameters) = url.split_once('?').unwrap_or((url, ""));
        let (place, _) = url.rsplit_once('/').unwrap();
        Self {
            url: format!("{place}/{name}?{parameters}"),
            temp,
            server,
            name,
            roles,
            settings,
            processes: Vec::new(),
        }
    }

    /// Starts every process at once.
    pub(crate) fn begin(&mut self) {
        let processes = 0..self.roles.len();
        let starting: Vec<_> = processes
            .map(|number| self.spawn(number, TOMBOLA))
            .collect();
        self.processes = starting
            .into_iter()
            .enumerate()
            .map(|(number, child)| Mutex::new(self.begun(number, TOMBOLA, child)))
            .collect();
    }

    /// The document of a command that works by the settings of the town.
    pub(crate) fn tombola(&self, args: &[&str]) -> Value {
        self.run(TOMBOLA, args)
    }

    /// The same of that binary.
    pub(crate) fn run(&self, binary: &str, args: &[&str]) -> Value {
        let mut command = self.command(0, binary);
        let said = command.args(args).arg("--json").output().unwrap();
        assert!(said.status.success(), "{args:?}: {said:?}");
        serde_json::from_slice(&said.stdout).unwrap()
    }

    /// The processes that answer the API.
    pub(crate) fn apis(&self) -> Vec<usize> {
        let has_api = |number: &usize| self.roles[*number].contains("api");
        (0..self.roles.len()).filter(has_api).collect()
    }

    fn spawn(&self, number: usize, binary: &str) -> Child {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log(number))
            .unwrap();
        self.command(number, binary)
            .args(["serve", "--migrate", "--listen", "127.0.0.1:0", "--json"])
            .args(["--roles", self.roles[number]])
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    fn begun(&self, number: usize, binary: &'static str, mut child: Child) -> Process {
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let said: Value = serde_json::from_str(&line).unwrap_or_default();
        let address = said["address"].as_str().map(str::to_owned);
        let log = || std::fs::read_to_string(self.log(number)).unwrap_or_default();
        Process {
            address: address.unwrap_or_else(|| panic!("no start of {number}: {}", log())),
            child,
            binary,
        }
    }

    fn command(&self, number: usize, binary: &str) -> Command {
        let mut command = Command::new(binary);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TOMBOLA_") {
                command.env_remove(name);
            }
        }
        command
            .current_dir(self.temp.path())
            .stdin(Stdio::null())
            .env("TOMBOLA_DATABASE__URL", &self.url)
            .env("TOMBOLA_DATABASE__DIRECTORY", format!("data-{number}"))
            .env("TOMBOLA_DATABASE__SECRET_KEY_FILE", "secret.key")
            .env("TOMBOLA_BOOTSTRAP_KEY", ADMIN)
            .envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
    }

    fn log(&self, number: usize) -> PathBuf {
        self.temp.path().join(format!("{number}.log"))
    }

    pub(crate) fn processes(&self) -> usize {
        self.processes.len()
    }

    /// A request to that process; `None` if no whole answer came.
    pub(crate) fn ask(
        &self,
        process: usize,
        (method, path): (&str, &str),
        (key, request_key): (&str, &str),
        body: &Value,
    ) -> Option<Answer> {
        let address = self.lock(process).address.clone();
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\nidempotency-key: {request_key}\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.write_all(request.as_bytes()).ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        Some(Answer {
            status: head.split(' ').nth(1)?.parse().ok()?,
            body: body.to_owned(),
        })
    }

    /// What an admin asks of that process; it has to go well.
    pub(crate) fn admin(&self, process: usize, method: &str, path: &str, body: &Value) -> Value {
        let key = format!("admin-{method}-{path}-{body}")
            .replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let key: String = key.chars().rev().take(100).collect();
        let answer = self
            .ask(process, (method, path), (ADMIN, &key), body)
            .unwrap();
        assert!(answer.status < 300, "{method} {path}: {answer:?}");
        answer.json()
    }

    /// Starts a campaign, each step at another process.
    pub(crate) fn start(&self, slug: &str, campaign: &Value) {
        let path = format!("/v1/campaigns/{slug}");
        self.admin(0, "PUT", &path, campaign);
        for (step, to) in ["submit", "approve", "start"].into_iter().enumerate() {
            let apis = self.apis();
            let at = apis[(step + 1) % apis.len()];
            let transitions = format!("{path}/transitions");
            self.admin(at, "POST", &transitions, &json!({ "to": to }));
        }
    }

    /// Ends that process by a signal and waits for its end.
    pub(crate) fn end(&self, process: usize, signal: &str) {
        let mut it = self.lock(process);
        let id = it.child.id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status().unwrap();
        assert!(sent.success());
        it.child.wait().unwrap();
    }

    /// Starts it again.
    pub(crate) fn restart(&self, process: usize) {
        let binary = self.lock(process).binary;
        self.restart_as(process, binary);
    }

    /// Starts it again under that binary.
    pub(crate) fn restart_as(&self, process: usize, binary: &'static str) {
        let begun = self.begun(process, binary, self.spawn(process, binary));
        *self.lock(process) = begun;
    }

    /// A variable of every process that starts from here on; an empty one is none.
    pub(crate) fn set(&mut self, name: &'static str, value: &str) {
        self.settings.retain(|(it, _)| *it != name);
        if !value.is_empty() {
            self.settings.push((name, value.to_owned()));
        }
    }

    /// The brokers and the topic of the town.
    pub(crate) fn topic(&self) -> (String, String) {
        let setting = |name| {
            let mut settings = self.settings.iter();
            settings.find(|(it, _)| *it == name).unwrap().1.clone()
        };
        let brokers = setting("TOMBOLA_BROKER__URL");
        let brokers = brokers.trim_start_matches("kafka://").to_owned();
        (brokers, setting("TOMBOLA_BROKER__TOPIC"))
    }

    /// Waits until that process has ended by itself.
    pub(crate) fn has_died(&self, process: usize) {
        let ended = self.lock(process).child.wait().unwrap();
        assert!(!ended.success(), "{ended}");
    }

    /// What that process says as it ends instead of starting.
    pub(crate) fn refuses_to_start(&self, process: usize) -> String {
        let said = self
            .command(process, TOMBOLA)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .output()
            .unwrap();
        assert!(!said.status.success(), "{said:?}");
        String::from_utf8(said.stderr).unwrap()
    }

    fn lock(&self, process: usize) -> std::sync::MutexGuard<'_, Process> {
        self.processes[process]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nothing of the campaign is unfinished, and audits.
    pub(crate) fn all_delivered(&self, process: usize, slug: &str) -> Value {
        let path = format!("/v1/campaigns/{slug}");
        let unfinished = |shown: &Value| sum(shown, "unfinished");
        let mut looks = 0;
        let shown = loop {
            let shown = self.admin(process, "GET", &path, &Value::Null);
            looks += 1;
            assert!(looks < 50_000, "awards stay unfinished: {shown}");
            if unfinished(&shown) == 0 {
                break shown;
            }
        };
        let audit = self.admin(process, "GET", "/v1/audit?full=true", &Value::Null);
        assert_eq!(audit["ok"], true, "{audit:#}");
        shown
    }
}

impl Drop for Town {
    fn drop(&mut self) {
        for process in &self.processes {
            let mut process = process.lock().unwrap_or_else(PoisonError::into_inner);
            // It may have ended already.
            process.child.kill().ok();
            process.child.wait().ok();
        }
        block_on(fresh::remove(&self.server, &self.name)).unwrap();
    }
}

/// Of all prizes of a campaign together.
pub(crate) fn sum(shown: &Value, what: &str) -> u64 {
    let prizes = shown["prizes"].as_array().unwrap();
    prizes.iter().map(|it| it[what].as_u64().unwrap()).sum()
}

/// Says once why tests claim nothing here.
pub(crate) fn skip(said: &Once, why: &str) {
    said.call_once(|| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "tombola-skip: many: {why}").unwrap();
    });
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}
