//! From arguments to an exit code.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;
use metal9_sandbox::{SHIM_COMMAND, shim_main};
use metal9_worker::{RUNTIME_COMMAND, runtime_main};

use crate::arguments::Arguments;
use crate::commands;
use crate::context::Context;
use crate::failure::Exit;
use crate::talk;

/// Runs the program: the first of `arguments` is its own name.
///
/// Ends with 0 if all went well, 1 if what the user asked for failed, 2 if it was asked for wrongly
/// or the configuration is wrong, and 70 if the fault is ours.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    // The supervisor of a job must be single-threaded and quick to start, so it goes first.
    if arguments.get(1).is_some_and(|first| first == SHIM_COMMAND) {
        return shim_main(arguments.into_iter().skip(2));
    }
    if arguments.get(1).is_some_and(|first| first == RUNTIME_COMMAND) {
        return runtime_main(arguments.into_iter().skip(2));
    }
    let parsed = match Arguments::try_parse_from(arguments) {
        Ok(parsed) => parsed,
        Err(error) => {
            // Nobody is left to tell if that cannot be printed either.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() };
        }
    };
    let context = Context::new(&parsed.global);
    match commands::run(&context, parsed.command) {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            talk::failure(&failure);
            failure.exit.into()
        }
    }
}
