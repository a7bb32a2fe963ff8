//! The benchmarks: `cargo xtask bench <name>`. A claim is a ratio to a named rival
//! measured in the same run on the same disk.

#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]

mod away;
mod backlog;
mod deliver;
mod desk;
mod draw;
mod draw_hot;
mod draw_pg;
mod export;
mod history;
mod http;
mod import;
mod kafka;
mod lists;
mod load;
mod naive;
mod pgbench;
mod postgres;
mod raw;
mod raw_kafka;
mod relay;
mod report;
mod roles;
mod transfer;
mod watched;
mod wire;

use anyhow::{Result, bail};

const ALL: &str = "`away`, `backlog`, `deliver`, `draw`, `draw-hot`, `draw-pg`, `export`, `http`, `import`, `lists`, `relay` and `transfer`";

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("away") => away::run(args),
        Some("backlog") => backlog::run(args),
        Some("deliver") => deliver::run(args),
        Some("draw") => draw::run(args),
        Some("draw-hot") => draw_hot::run(args),
        Some("draw-pg") => draw_pg::run(args),
        Some("export") => export::run(args),
        Some("http") => http::run(args),
        Some("import") => import::run(args),
        Some("lists") => lists::run(args),
        Some("relay") => relay::run(args),
        Some("transfer") => transfer::run(args),
        Some("empty-handler") => http::serve_empty(),
        Some(other) => bail!("there is no benchmark `{other}`; there are {ALL}"),
        None => bail!("say which benchmark: {ALL}"),
    }
}
