//! `metal9 image`: environments before anything runs in them.

mod check;

use clap::Subcommand;

use crate::context::Context;
use crate::failure::Failure;

/// What to do with images.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Say on which machines a program's images, or packages, can be had
    ///
    /// Resolves them and installs nothing. Fails if a function asks for a GPU, as `gpu="MPS"`, of
    /// machines that cannot have its image.
    Check(check::Arguments),
}

/// Carries out what is to be done.
///
/// # Errors
///
/// If it fails.
pub(crate) fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Check(arguments) => check::run(context, arguments),
    }
}
