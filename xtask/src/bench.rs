//! `cargo xtask bench`: builds what a benchmark measures and runs it, beside a PostgreSQL and a Kafka
//! where it needs them.

use std::env;

use anyhow::Result;

use crate::services::Guard;
use crate::shell::{self, Workspace};

/// Those there are.
pub(crate) const HELP: &str = "\
Benchmarks; each ends with failure where it misses its floor, and takes `--callers`, `--seconds` and the like:
  draw      the desk on SQLite against raw group commit and against one transaction a draw
  draw-pg   the desk on PostgreSQL with 1, 2 and 4 instances, against pgbench's best TPC-B-like rate
  draw-hot  one prize that every draw wins, on PostgreSQL, against the naive transaction
  backlog   draws beside a million undelivered awards, rows that rescue reads, a transaction held open
  http      draws over HTTP against an empty handler
  lists     pages of lists at a million draws
  export    a million awards as JSON lines and CSV
  import    a million codes against a raw bulk insert
  transfer  a million draws from SQLite to PostgreSQL, against plain COPY; COPY against `unnest`
  relay     the relay to Kafka against librdkafka's idempotent producer with the same bytes
  deliver   from commit to delivered, on PostgreSQL and Kafka, with all roles in one process
  away      Kafka is away for 10 minutes while draws go on (`--minutes N`)
Those on PostgreSQL or Kafka start servers of their own, unless TOMBOLA_TEST_POSTGRES and
TOMBOLA_TEST_KAFKA name some.";

/// The server that they measure is a process of its own.
const OF_THE_SERVER: [&str; 2] = ["http", "export"];
const ON_POSTGRES: [&str; 4] = ["draw-pg", "draw-hot", "backlog", "transfer"];
const ON_BOTH: [&str; 3] = ["relay", "deliver", "away"];

pub(crate) fn run(workspace: &Workspace, name: &str, args: &[String]) -> Result<()> {
    if OF_THE_SERVER.contains(&name) {
        let server = ["build", "--release", "-p", "tombola-server"];
        shell::run(&mut workspace.cargo(server))?;
    }
    let of_bench = [
        "--release",
        "-p",
        "tombola-testkit",
        "--features",
        "kafka",
        "--bin",
        "bench",
    ];
    shell::run(workspace.cargo(["build"]).args(of_bench))?;
    // Held to the end: dropping it stops the servers.
    let services = if ON_BOTH.contains(&name) {
        Guard::both(workspace)?
    } else if ON_POSTGRES.contains(&name) {
        Guard::postgres(workspace)?
    } else {
        Guard::default()
    };
    let mut bench = workspace.cargo(["run"]);
    services.name_to(&mut bench);
    // `away` kills and starts Kafka by it.
    bench.env("TOMBOLA_XTASK", env::current_exe()?);
    shell::run(bench.args(of_bench).arg("--").arg(name).args(args))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_names_every_benchmark_that_is_treated_apart() {
        for name in OF_THE_SERVER.iter().chain(&ON_POSTGRES).chain(&ON_BOTH) {
            assert!(HELP.contains(&format!("\n  {name} ")), "{name}");
        }
    }
}
