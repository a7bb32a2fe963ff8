//! `bench export`: a million awards and a million draws out of a running server,
//! through the command line as people use it: how long it takes, and that the
//! server's memory stays flat, also while the client reads slowly.

use crate::history::History;
use crate::report;
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What the server may take more than before the export, however many rows it has;
/// its allocator keeps what it once had.
const GROWTH_MB_MAX: u64 = 64;
/// Bytes read between two looks at the server's memory.
const PIECE: usize = 1 << 20;

/// `export [--rows N] [--dir DIR]`
pub(crate) fn run(mut args: impl Iterator<Item = String>) -> Result<()> {
    let (mut rows, mut dir) = (1_000_000, "target".to_owned());
    while let Some(flag) = args.next() {
        let value = args.next().unwrap_or_default();
        match flag.as_str() {
            "--rows" => rows = value.parse()?,
            "--dir" => dir = value,
            other => bail!("`{other}` is not known; use --rows, --dir"),
        }
    }
    std::fs::create_dir_all(&dir)?;
    let home = tempfile::tempdir_in(&dir)?;
    let data = home.path().join("data");
    std::fs::create_dir(&data)?;
    let history = History {
        draws: rows,
        win_percent: 100,
        open_of_1000: 0,
    };
    let file = data.join("tombola.db");
    tokio::runtime::Runtime::new()?.block_on(history.fill(&file))?;
    let server = Server::start(&data)?;
    let mut measured = Vec::new();
    for (what, args) in [
        ("awards as CSV", &["award", "list", "--csv"][..]),
        ("awards as JSON lines", &["award", "list", "--json"]),
        ("draws as CSV", &["draw", "list", "bench", "--csv"]),
        (
            "the rarest prize as CSV",
            &["award", "list", "--prize", "phone", "--csv"],
        ),
    ] {
        measured.push(server.export(what, args, Duration::ZERO)?);
    }
    // A client that takes a piece now and then.
    let slowly = ["award", "list", "--csv", "--limit", "100000"];
    measured.push(server.export(
        "awards as CSV, read slowly",
        &slowly,
        Duration::from_millis(200),
    )?);
    report::keep("export", &[], &json!({ "rows": rows, "exports": measured }))?;
    let grown = measured
        .iter()
        .filter_map(|it| it["grown_mb"].as_u64())
        .max();
    ensure!(
        grown.unwrap_or_default() < GROWTH_MB_MAX,
        "the server grew by {grown:?} MB"
    );
    let lines = measured[0]["lines"].as_u64();
    ensure!(
        lines == Some(rows + 1),
        "{lines:?} lines of {rows} awards and a heading"
    );
    Ok(())
}

/// The program beside this one.
fn program() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let program = own.with_file_name("tombola");
    ensure!(program.exists(), "{} is not built", program.display());
    Ok(program)
}

struct Server {
    child: Child,
    data: PathBuf,
}

impl Server {
    fn start(data: &Path) -> Result<Self> {
        let mut child = Command::new(program()?)
            .arg("--data")
            .arg(data)
            .args(["serve", "--listen", "127.0.0.1:0", "--json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut line = String::new();
        let out = child
            .stdout
            .take()
            .context("the server's stdout is a pipe")?;
        BufReader::new(out).read_line(&mut line)?;
        ensure!(line.contains("address"), "the server did not start: {line}");
        let data = data.to_path_buf();
        Ok(Self { child, data })
    }

    fn memory_mb(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS"));
        let kib: u64 = line
            .and_then(|line| line.split_whitespace().nth(1))
            .context("VmRSS")?
            .parse()?;
        Ok(kib / 1024)
    }

    fn export(&self, what: &str, args: &[&str], pause: Duration) -> Result<Value> {
        let before = self.memory_mb()?;
        let begun = Instant::now();
        let mut client = Command::new(program()?)
            .arg("--data")
            .arg(&self.data)
            .args(args)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut out = client
            .stdout
            .take()
            .context("the client's stdout is a pipe")?;
        let (mut piece, mut bytes, mut lines, mut most) = (vec![0; PIECE], 0, 0, before);
        let (mut since_look, mut first) = (0, None);
        loop {
            let read = out.read(&mut piece)?;
            first.get_or_insert_with(|| begun.elapsed());
            if read == 0 {
                break;
            }
            bytes += read;
            lines += piece[..read].split(|byte| *byte == b'\n').count() - 1;
            since_look += read;
            if since_look >= PIECE {
                since_look = 0;
                most = most.max(self.memory_mb()?);
                std::thread::sleep(pause);
            }
        }
        ensure!(client.wait()?.success(), "the export failed");
        let took = begun.elapsed();
        let after = self.memory_mb()?;
        let most = most.max(after);
        println!(
            "{what}: {lines} lines, {} MB in {:.2} s, the first after {:.0} ms; server {before} MB before, {most} MB at most, {after} MB after",
            bytes >> 20,
            took.as_secs_f64(),
            first.unwrap_or_default().as_secs_f64() * 1e3,
        );
        Ok(json!({
            "export": what, "lines": lines, "bytes": bytes, "seconds": took.as_secs_f64(),
            "before_mb": before, "most_mb": most, "after_mb": after, "grown_mb": most - before.min(most),
        }))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
