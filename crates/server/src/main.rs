//! The binary `tombola`: reads the command line and runs one command.

use std::process::ExitCode;

/// A request is made of many small pieces that one thread takes and another gives back,
/// which the system's own allocator does slowly
/// (`docs/decisions/0014-the-allocator.md`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tombola_server::cli::main()
}
