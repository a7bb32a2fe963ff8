//! The benchmarks: `cargo xtask bench <name>`. A claim is a ratio to a named rival
//! measured in the same run on the same disk.

mod desk;
mod draw;
mod load;
mod raw;
mod report;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("draw") => draw::run(args),
        Some(other) => bail!("there is no benchmark `{other}`; there is `draw`"),
        None => bail!("say which benchmark: `draw`"),
    }
}
