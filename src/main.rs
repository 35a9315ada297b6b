//! The `identity` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    identity::cli::main()
}
