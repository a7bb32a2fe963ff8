//! The benchmarks: `cargo xtask bench <name>`. A claim is a ratio to a named rival
//! measured in the same run on the same disk.

#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]

mod desk;
mod draw;
mod import;
mod load;
mod raw;
mod report;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("draw") => draw::run(args),
        Some("import") => import::run(args),
        Some(other) => bail!("there is no benchmark `{other}`; there are `draw` and `import`"),
        None => bail!("say which benchmark: `draw` or `import`"),
    }
}
