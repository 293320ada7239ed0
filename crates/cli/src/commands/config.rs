//! `metal9 config dump`.

use clap::Subcommand;

use crate::context::Context;
use crate::failure::Failure;

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print every setting with its value and where that is from
    Dump,
}

/// Prints the merged settings as a configuration file.
///
/// # Errors
///
/// If the configuration is wrong.
pub(crate) fn dump(context: &Context) -> Result<(), Failure> {
    let settings = context.settings(Vec::new())?;
    context.output.show(&settings.as_json(), || settings.as_toml())
}
