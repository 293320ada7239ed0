//! The `metal9` program.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    metal9_cli::run(std::env::args_os())
}
