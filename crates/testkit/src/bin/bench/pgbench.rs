//! The rival that everybody has: pgbench's own TPC-B-like transaction (three updates,
//! a select, an insert), prepared, on the same server in the same run.

use crate::postgres::Database;
use crate::report::Measured;
use anyhow::{Context as _, Result, ensure};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const SCALE: &str = "50";

/// Makes its tables.
pub(crate) fn fill(database: &Database) -> Result<()> {
    let args = ["--initialize", "--quiet", "--scale", SCALE];
    output(database.command("pgbench").args(args)).map(drop)
}

/// So many clients for that long; `dir` takes the log of transactions.
pub(crate) fn run(
    database: &Database,
    clients: usize,
    seconds: u64,
    dir: &Path,
) -> Result<Measured> {
    let logs = tempfile::tempdir_in(dir)?;
    let mut command = database.command("pgbench");
    command
        .args(["--no-vacuum", "--protocol", "prepared", "--log"])
        .arg("--log-prefix")
        .arg(logs.path().join("log"))
        .args(["--time", &seconds.to_string()])
        .args(["--client", &clients.to_string()])
        .args(["--jobs", &clients.min(2).to_string()]);
    let rate = rate_of(&output(&mut command)?).context("pgbench printed no rate")?;
    let mut waits = Vec::new();
    for log in std::fs::read_dir(logs.path())? {
        waits.extend(waits_of(&std::fs::read_to_string(log?.path())?));
    }
    ensure!(!waits.is_empty(), "pgbench logged no transaction");
    waits.sort_unstable();
    let transactions = u32::try_from(waits.len())?;
    Ok(Measured {
        name: "pgbench, TPC-B-like".to_owned(),
        callers: clients,
        draws: transactions.into(),
        took: Duration::from_secs_f64(f64::from(transactions) / rate),
        waits,
    })
}

fn output(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .context("starting pgbench, which is a program of PostgreSQL: put it on the PATH")?;
    ensure!(
        output.status.success(),
        "pgbench ended with {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// Transactions a second, of what it prints at the end.
fn rate_of(printed: &str) -> Option<f64> {
    let line = printed
        .lines()
        .find_map(|line| line.strip_prefix("tps = "))?;
    line.split_whitespace().next()?.parse().ok()
}

/// How long each transaction of a log took: its third column, in microseconds.
fn waits_of(log: &str) -> impl Iterator<Item = Duration> {
    let wait = |line: &str| line.split(' ').nth(2)?.parse().ok();
    log.lines().filter_map(wait).map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "transaction type: <builtin: TPC-B (sort of)>\nscaling factor: 50\n\
        number of failed transactions: 0 (0.000%)\nlatency average = 4.366 ms\n\
        initial connection time = 31.702 ms\n\
        tps = 7329.316114 (without initial connection time)\n";

    #[test]
    fn rate_is_read_from_what_pgbench_prints() {
        assert_eq!(rate_of(PRINTED), Some(7_329.316_114));
        assert_eq!(rate_of("pgbench: error: no such database"), None);
    }

    #[test]
    fn waits_are_read_from_its_log_and_torn_lines_are_left_out() {
        let log = "0 199 2241 0 1175850568 995598\n1 198 79 0 1175850569 608\n0 2";
        let waits: Vec<_> = waits_of(log).collect();
        let expected = [2241, 79].map(Duration::from_micros);
        assert_eq!(waits, expected);
    }
}
