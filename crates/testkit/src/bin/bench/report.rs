//! What a benchmark prints: a table for people, and one JSON line that is also
//! appended to `bench/results/`, with the commit and the machine.

use anyhow::Result;
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// What one run of one contender measured.
pub(crate) struct Measured {
    pub(crate) name: String,
    pub(crate) callers: usize,
    pub(crate) draws: u64,
    pub(crate) took: Duration,
    /// Sorted.
    pub(crate) waits: Vec<Duration>,
}

impl Measured {
    pub(crate) fn rate(&self) -> f64 {
        f64::from(u32::try_from(self.draws).unwrap_or(u32::MAX)) / self.took.as_secs_f64()
    }

    /// The wait that `percent` of all callers had at most.
    pub(crate) fn wait(&self, percent: usize) -> Duration {
        let last = self.waits.len().saturating_sub(1);
        self.waits
            .get(self.waits.len() * percent / 100)
            .or(self.waits.get(last))
            .copied()
            .unwrap_or_default()
    }

    /// Runs of one contender as if they had been one; `None` of none.
    pub(crate) fn join(runs: Vec<Self>) -> Option<Self> {
        let mut whole = runs.into_iter().reduce(|mut whole, run| {
            whole.draws += run.draws;
            whole.took += run.took;
            whole.waits.extend(run.waits);
            whole
        })?;
        whole.waits.sort_unstable();
        Some(whole)
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "callers": self.callers,
            "draws": self.draws,
            "draws_per_second": self.rate().round(),
            "p50_ms": self.wait(50).as_secs_f64() * 1e3,
            "p99_ms": self.wait(99).as_secs_f64() * 1e3,
        })
    }
}

/// Prints the table.
pub(crate) fn table(rows: &[Measured]) {
    println!(
        "{:<28} {:>7} {:>10} {:>12} {:>9} {:>9}",
        "", "callers", "draws", "draws/s", "p50 ms", "p99 ms"
    );
    for row in rows {
        println!(
            "{:<28} {:>7} {:>10} {:>12.0} {:>9.2} {:>9.2}",
            row.name,
            row.callers,
            row.draws,
            row.rate(),
            row.wait(50).as_secs_f64() * 1e3,
            row.wait(99).as_secs_f64() * 1e3,
        );
    }
}

/// Keeps the result beside those of earlier commits.
pub(crate) fn keep(bench: &str, rows: &[Measured], extra: &Value) -> Result<()> {
    let line = json!({
        "bench": bench,
        "commit": command("git", &["rev-parse", "--short", "HEAD"]),
        "machine": { "cores": std::thread::available_parallelism()?.get(), "cpu": cpu() },
        "rows": rows.iter().map(Measured::json).collect::<Vec<_>>(),
        "extra": extra,
    });
    println!("{line}");
    let dir = Path::new("bench/results");
    std::fs::create_dir_all(dir)?;
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(dir.join(format!("{bench}.jsonl")))?;
    writeln!(file, "{line}")?;
    Ok(())
}

fn command(program: &str, args: &[&str]) -> Option<String> {
    let output = std::process::Command::new(program)
        .args(args)
        .output()
        .ok()?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

fn cpu() -> Option<String> {
    let info = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Largest resident memory of this process so far, in MB, where the system tells.
pub(crate) fn memory_peak_mb() -> Option<u64> {
    memory_peak_mb_of(std::process::id())
}

/// The same of another process.
pub(crate) fn memory_peak_mb_of(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024)
}

/// How many times a second this disk takes a small write and an fsync.
pub(crate) fn fsyncs_per_second(dir: &Path) -> Result<f64> {
    let mut file = std::fs::File::create(dir.join("fsync"))?;
    let begun = Instant::now();
    let mut times = 0_u32;
    while begun.elapsed() < Duration::from_millis(500) {
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
        times += 1;
    }
    Ok(f64::from(times) / begun.elapsed().as_secs_f64())
}
