//! The binary `tombola`: reads the command line and runs one command.

use std::process::ExitCode;
use std::time::Duration;

/// A request is made of many small pieces that one thread takes and another gives back,
/// which the system's own allocator does slowly
/// (`docs/decisions/0014-the-allocator.md`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long threads may take to end after the command has.
const LINGER: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            tombola_server::print::Out::new(false)
                .error(&format!("the runtime cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(tombola_server::cli::run(std::env::args_os()));
    // A thread that still waits for a client's bytes must not hold the process up.
    runtime.shutdown_timeout(LINGER);
    code
}
