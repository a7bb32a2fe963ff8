//! The binary `tombola-next`: the version after this one, for tests of an upgrade. All that
//! differs is what `tombola_core::next` says.

use std::process::ExitCode;

fn main() -> ExitCode {
    tombola_core::next::be_next();
    tombola_server::cli::main()
}
