//! The binary `tombola`: reads the command line and runs one command.

use std::process::ExitCode;

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
    runtime.block_on(tombola_server::cli::run(std::env::args_os()))
}
