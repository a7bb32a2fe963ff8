//! A Kafka cluster of one or three nodes, each broker and controller at once (`KRaft`), from pinned
//! jars on the Java of this machine.
//!
//! Settings follow the number of nodes, so that with three of them one may be away. Beside its plain
//! listener each node has one behind TLS and a password, as clusters have that others reach.

use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::metadata::living;
use super::process::{self, KILL, Process};
use super::{NotHere, answers};
use crate::shell::Watch;

mod release;

use release::Release;

/// Who may use the listener with a password; the tests know both.
const USER: &str = "tombola";
const PASSWORD: &str = "a-password-of-the-tests";

/// A node that has not come up by then never will.
const START_DEADLINE: Duration = Duration::from_mins(2);

/// Nodes that stop together wait for each other in vain, and what they hold is thrown away.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// What is needed to run it, looked for before anything is started.
#[derive(Debug)]
pub(super) struct Programs {
    release: &'static Release,
    class_path: String,
    /// The class path of clients in Java; that they cannot be had keeps no broker away.
    pub(super) clients: Result<String>,
}

impl Programs {
    pub(super) fn find(version: Option<&str>) -> Result<Self> {
        let release = Release::find(version)?;
        if !answers("java", "-version") {
            return Err(NotHere("Java is not installed, on which Kafka runs").into());
        }
        let class_path = release.class_path()?;
        let clients = release::of_clients().map(|jars| format!("{class_path}:{jars}"));
        Ok(Self {
            release,
            class_path,
            clients,
        })
    }
}

/// A cluster, running or not.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Kafka {
    version: String,
    cluster: String,
    /// PEM file of the certificate by which clients trust the listeners behind TLS.
    pub(super) authority: PathBuf,
    nodes: Vec<Node>,
    /// The class path of clients in Java, where they can be had.
    clients: Option<String>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Node {
    id: u32,
    directory: PathBuf,
    port: u16,
    controller_port: u16,
    secure_port: u16,
}

impl Kafka {
    /// How many ports a cluster of this size takes.
    pub(super) fn ports(nodes: u32) -> usize {
        3 * nodes as usize
    }

    pub(super) fn new(programs: &Programs, directory: &Path, ports: &[u16]) -> Self {
        let node = |(id, ports): (u32, &[u16])| Node {
            id,
            directory: directory.join(format!("kafka-{id}")),
            port: ports[0],
            controller_port: ports[1],
            secure_port: ports[2],
        };
        Self {
            version: programs.release.version.to_owned(),
            cluster: fresh_id(),
            authority: directory.join("kafka-ca.pem"),
            nodes: (1..).zip(ports.chunks_exact(3)).map(node).collect(),
            clients: programs.clients.as_ref().ok().cloned(),
        }
    }

    pub(super) fn clients(&self) -> Option<String> {
        self.clients.clone()
    }

    pub(super) fn servers(&self) -> String {
        self.listeners(|node| node.port)
    }

    /// The listeners behind TLS and a password.
    pub(super) fn secure_servers(&self) -> String {
        self.listeners(|node| node.secure_port)
    }

    fn listeners(&self, port: impl Fn(&Node) -> u16) -> String {
        let nodes = self.nodes.iter();
        let servers: Vec<_> = nodes
            .map(|node| format!("127.0.0.1:{}", port(node)))
            .collect();
        servers.join(",")
    }

    fn keys(&self) -> PathBuf {
        self.authority.with_file_name("kafka-keys.p12")
    }

    /// One certificate for all nodes, which vouches for itself, by the tool that comes with Java.
    fn make_certificate(&self) -> Result<()> {
        let keytool = |args: &str| {
            let mut keytool = Command::new("keytool");
            keytool.args(args.split(' ')).args(["-alias", "kafka"]);
            keytool.args(["-storepass", PASSWORD, "-keystore"]);
            let output = keytool.arg(self.keys()).output();
            let output = output.context("starting keytool, which comes with Java")?;
            ensure!(
                output.status.success(),
                "keytool ended with {}: {}",
                output.status,
                String::from_utf8_lossy(&output.stdout)
            );
            Ok(output.stdout)
        };
        keytool(
            "-genkeypair -keyalg EC -groupname secp256r1 -validity 30 -storetype PKCS12 \
             -dname CN=kafka -ext san=ip:127.0.0.1 -ext bc=ca:true",
        )?;
        fs::write(&self.authority, keytool("-exportcert -rfc")?)?;
        Ok(())
    }

    /// Whether it is of this size and release, as far as they were asked for.
    pub(super) fn is(&self, nodes: Option<u32>, version: Option<&str>) -> Result<bool> {
        let is_size = nodes.is_none_or(|nodes| self.nodes.len() == nodes as usize);
        let is_release = version.is_none() || Release::find(version)?.version == self.version;
        Ok(is_size && is_release)
    }

    /// Makes all nodes and starts them; `wait` says when they are there.
    pub(super) fn create(&self, programs: &Programs) -> Result<()> {
        let scram = format!("SCRAM-SHA-512=[name={USER},password={PASSWORD}]");
        let mut formats = Vec::new();
        for node in &self.nodes {
            fs::create_dir(&node.directory)?;
            fs::write(node.logging(), programs.release.logging)?;
            fs::write(node.settings(), self.settings(node))?;
            let mut format = self.java(node, programs);
            // It runs for a second: nothing in it is worth compiling well.
            format.args(["-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool"]);
            format.args(["format", "--add-scram", &scram]);
            format.args(["--cluster-id", &self.cluster, "--config"]);
            formats.push((
                node,
                Process::spawn(format.arg(node.settings()), &node.log())?,
            ));
        }
        self.make_certificate()?;
        for (node, format) in formats {
            let is_done = process::wait_until(START_DEADLINE, || !format.is_alive());
            let meta = node.data().join("meta.properties");
            if !is_done || !meta.exists() {
                bail!(
                    "Kafka's node {} has no storage:\n{}",
                    node.id,
                    process::log_end(&node.log())
                );
            }
            self.begin(programs, node)?;
        }
        Ok(())
    }

    fn begin(&self, programs: &Programs, node: &Node) -> Result<()> {
        let mut server = self.java(node, programs);
        server.arg("kafka.Kafka").arg(node.settings());
        Process::spawn(&mut server, &node.log())?.write(&node.process_file())
    }

    /// Waits until each node knows all of them.
    pub(super) fn wait(&self) -> Result<()> {
        let ids: Vec<_> = self.nodes.iter().map(|node| node.id).collect();
        self.nodes.iter().try_for_each(|node| node.wait_for(&ids))
    }

    pub(super) fn kill(&self, id: u32) -> Result<()> {
        let process = self.node(id)?.process()?;
        process.map_or(Ok(()), |process| process.stop(&[KILL]))
    }

    /// Waits until the node counts itself among the living.
    pub(super) fn start(&self, id: u32) -> Result<()> {
        let node = self.node(id)?;
        if node.process()?.is_some_and(|process| process.is_alive()) {
            bail!("Kafka's node {id} is running");
        }
        self.begin(&Programs::find(Some(&self.version))?, node)?;
        node.wait_for(&[id])
    }

    pub(super) fn stop(&self) -> Result<()> {
        let mut running = Vec::new();
        for node in &self.nodes {
            running.extend(node.process()?);
        }
        for process in &running {
            process.signal("TERM")?;
        }
        process::wait_until(STOP_DEADLINE, || !running.iter().any(Process::is_alive));
        let mut kills = running.iter().map(|process| process.stop(&[KILL]));
        kills.try_for_each(|kill| kill.context("stopping Kafka"))
    }

    /// Each node with its process, if it was started.
    pub(super) fn processes(&self) -> Result<Vec<(u32, Option<Process>)>> {
        let nodes = self.nodes.iter();
        nodes.map(|node| Ok((node.id, node.process()?))).collect()
    }

    fn node(&self, id: u32) -> Result<&Node> {
        let node = self.nodes.iter().find(|node| node.id == id);
        node.with_context(|| format!("Kafka has no node {id}, but 1 to {}", self.nodes.len()))
    }

    /// With the class path; further options and the class are to follow.
    fn java(&self, node: &Node, programs: &Programs) -> Command {
        let heap = if self.nodes.len() == 1 { 512 } else { 384 };
        let mut java = Command::new("java");
        java.arg(format!("-Xmx{heap}m"))
            .arg(format!(
                "-D{}=file:{}",
                programs.release.logging_property,
                node.logging().display()
            ))
            .args(["-XX:+UseSerialGC", "-cp", &programs.class_path])
            .current_dir(&node.directory);
        java
    }

    /// A killed node may come back once its session has run out: it is short, for tests that wait.
    fn settings(&self, node: &Node) -> String {
        let voters: Vec<_> = self.nodes.iter().map(Node::voter).collect();
        let copies = self.nodes.len();
        let in_sync = copies.div_ceil(2);
        let Node {
            id,
            port,
            controller_port,
            secure_port,
            ..
        } = node;
        format!(
            "process.roles=broker,controller\n\
             node.id={id}\n\
             controller.quorum.voters={voters}\n\
             listeners=PLAINTEXT://127.0.0.1:{port},SASL_SSL://127.0.0.1:{secure_port},CONTROLLER://127.0.0.1:{controller_port}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port},SASL_SSL://127.0.0.1:{secure_port}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT\n\
             sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512\n\
             listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";\n\
             listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;\n\
             ssl.keystore.type=PKCS12\n\
             ssl.keystore.location={keys}\n\
             ssl.keystore.password={PASSWORD}\n\
             inter.broker.listener.name=PLAINTEXT\n\
             controller.listener.names=CONTROLLER\n\
             log.dirs={data}\n\
             auto.create.topics.enable=false\n\
             default.replication.factor={copies}\n\
             min.insync.replicas={in_sync}\n\
             offsets.topic.replication.factor={copies}\n\
             offsets.topic.num.partitions=8\n\
             transaction.state.log.replication.factor={copies}\n\
             transaction.state.log.min.isr={in_sync}\n\
             transaction.state.log.num.partitions=8\n\
             group.initial.rebalance.delay.ms=0\n\
             broker.heartbeat.interval.ms=500\n\
             broker.session.timeout.ms=4000\n\
             log.cleaner.dedupe.buffer.size=4194304\n",
            voters = voters.join(","),
            keys = self.keys().display(),
            data = node.data().display(),
        )
    }

    #[cfg(test)]
    pub(super) fn example(directory: &Path) -> Self {
        let programs = Programs {
            release: Release::find(None).unwrap(),
            class_path: String::new(),
            clients: Ok("/x/clients.jar".to_owned()),
        };
        Self::new(
            &programs,
            directory,
            &[
                21_001, 21_002, 21_003, 21_004, 21_005, 21_006, 21_007, 21_008, 21_009,
            ],
        )
    }
}

impl Node {
    fn voter(&self) -> String {
        format!("{}@127.0.0.1:{}", self.id, self.controller_port)
    }

    fn process(&self) -> Result<Option<Process>> {
        Process::read(&self.process_file())
    }

    fn process_file(&self) -> PathBuf {
        self.directory.with_extension("process")
    }

    fn settings(&self) -> PathBuf {
        self.directory.join("server.properties")
    }

    fn logging(&self) -> PathBuf {
        self.directory.join("logging.properties")
    }

    fn log(&self) -> PathBuf {
        self.directory.join("server.log")
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Until this node names all of these as living.
    fn wait_for(&self, ids: &[u32]) -> Result<()> {
        let process = self.process()?.context("it was started")?;
        let is_there =
            || living(self.port).is_ok_and(|living| ids.iter().all(|id| living.contains(id)));
        let watch = Watch::start();
        let mut is_up = false;
        while !is_up && process.is_alive() && watch.elapsed() < START_DEADLINE {
            is_up = process::wait_until(process::POLL, is_there);
        }
        ensure!(
            is_up,
            "Kafka's node {} did not come up:\n{}",
            self.id,
            process::log_end(&self.log())
        );
        Ok(())
    }
}

/// A new id as Kafka writes them: 16 bytes in 22 letters of base 64, the last of which has two bits.
fn fresh_id() -> String {
    let random = || RandomState::new().build_hasher().finish();
    let digits = format!("{:016x}{:016x}", random(), random());
    format!("{}A", &digits[..21])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_three_nodes_one_may_be_away() {
        let kafka = Kafka::example(Path::new("/x"));
        let settings = kafka.settings(&kafka.nodes[1]);
        for line in [
            "node.id=2",
            "controller.quorum.voters=1@127.0.0.1:21002,2@127.0.0.1:21005,3@127.0.0.1:21008",
            "advertised.listeners=PLAINTEXT://127.0.0.1:21004,SASL_SSL://127.0.0.1:21006",
            "default.replication.factor=3",
            "min.insync.replicas=2",
            "offsets.topic.replication.factor=3",
        ] {
            assert!(
                settings.lines().any(|set| set == line),
                "{line}\n{settings}"
            );
        }
        assert_eq!(
            kafka.servers(),
            "127.0.0.1:21001,127.0.0.1:21004,127.0.0.1:21007"
        );
        assert_eq!(
            kafka.secure_servers(),
            "127.0.0.1:21003,127.0.0.1:21006,127.0.0.1:21009"
        );
    }

    #[test]
    fn one_node_keeps_one_copy() {
        let mut kafka = Kafka::example(Path::new("/x"));
        kafka.nodes.truncate(1);
        let settings = kafka.settings(&kafka.nodes[0]);
        assert!(settings.contains("default.replication.factor=1\n"));
        assert!(settings.contains("min.insync.replicas=1\n"));
    }

    #[test]
    fn only_what_was_asked_for_must_agree() {
        let kafka = Kafka::example(Path::new("/x"));
        assert!(kafka.is(None, None).unwrap());
        assert!(kafka.is(Some(3), Some("4")).unwrap());
        assert!(!kafka.is(Some(1), None).unwrap());
        assert!(!kafka.is(None, Some("3.9")).unwrap());
    }

    #[test]
    fn cluster_ids_differ_and_have_the_length_of_kafkas() {
        let (one, other) = (fresh_id(), fresh_id());
        assert_eq!(one.len(), 22);
        assert_ne!(one, other);
    }

    #[test]
    fn node_that_is_not_there_is_named_with_those_that_are() {
        let error = Kafka::example(Path::new("/x"))
            .kill(4)
            .unwrap_err()
            .to_string();
        assert_eq!(error, "Kafka has no node 4, but 1 to 3");
    }
}
