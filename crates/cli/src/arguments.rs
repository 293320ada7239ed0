//! What may stand on the command line, before any of it is acted on.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::commands::{
    audit, config, dev, devices, doctor, gateway, image, selftest, status, task, token, worker,
    workspace,
};

/// Everything on the command line.
#[derive(Debug, Parser)]
#[command(
    name = "metal9",
    version,
    about = "Runs Python functions on your own machines",
    after_help = "Start everything on this machine with `metal9 dev`."
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What may stand anywhere.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The configuration file [default: $METAL9_CONFIG or ~/.config/metal9/config.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print data as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// What to log, as `debug` or `info,metal9_worker=debug` [default: $METAL9_LOG]
    #[arg(long, global = true, value_name = "FILTER")]
    pub(crate) log: Option<String>,
}

/// The commands, in the order of the help.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a gateway and a worker on this machine
    Dev(dev::Arguments),
    /// Run a gateway
    Gateway(gateway::Arguments),
    /// Join a gateway with this machine and run its jobs, or manage a gateway's workers
    #[command(subcommand)]
    Worker(worker::Command),
    /// Show workers, containers and tasks
    Status(status::Arguments),
    /// Show what this machine is and which GPUs it has for jobs
    Devices(devices::Arguments),
    /// Look at tasks
    #[command(subcommand)]
    Task(task::Command),
    /// Look at images
    #[command(subcommand)]
    Image(image::Command),
    /// Manage tokens
    #[command(subcommand)]
    Token(token::Command),
    /// Manage workspaces, the tenants of an installation
    #[command(subcommand)]
    Workspace(workspace::Command),
    /// Show who did what
    Audit(audit::Arguments),
    /// Look for what could keep this machine from working
    Doctor(doctor::Arguments),
    /// Find out by running jobs whether this machine can
    Selftest(selftest::Arguments),
    /// Look at the configuration
    #[command(subcommand)]
    Config(config::Command),
    /// Ask Metal for its devices and print what it says, for this program itself
    #[command(name = metal9_device::probe::COMMAND, hide = true)]
    ProbeMetal,
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_makes_sense() {
        Arguments::command().debug_assert();
    }
}
