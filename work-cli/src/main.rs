//! The command `work`.

use std::process::ExitCode;

fn main() -> ExitCode {
    work_cli::run(std::env::args_os())
}
