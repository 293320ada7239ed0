//! `metal9 worker install`, `uninstall`, `start`, `stop`, `status` and `logs`: the worker as a
//! service of launchd or systemd.

mod apply;
mod find;
mod install;
mod join;
mod logs;
mod start;
mod status;
mod stop;
mod uninstall;

use clap::Subcommand;

use crate::context::Context;
use crate::failure::Failure;
pub(crate) use find::{existing as find, standing};

/// What to do with the service of this machine.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Let this machine start the worker by itself, now and after every boot
    ///
    /// As root it is the machine's service: a LaunchDaemon, or a unit of the system's systemd.
    /// Otherwise it is this user's: a LaunchAgent, or a unit of the user's systemd.
    Install(Box<install::Arguments>),
    /// Stop the service and remove it; the worker's state stays
    Uninstall,
    /// Start the service
    Start,
    /// Stop the service until the next boot or login; running calls may go on for a while
    Stop,
    /// Show whether the service is installed and runs
    Status,
    /// Show the end of the service's log
    Logs(logs::Arguments),
}

/// Does it.
///
/// # Errors
///
/// If the service is not there, or the service manager refuses.
pub(crate) fn run(context: &Context, command: Command) -> Result<(), Failure> {
    if !matches!(command, Command::Install(_)) {
        context.start_log("warn")?;
    }
    match command {
        Command::Install(arguments) => install::run(context, *arguments),
        Command::Uninstall => uninstall::run(context),
        Command::Start => start::run(context),
        Command::Stop => stop::run(context),
        Command::Status => status::run(context),
        Command::Logs(arguments) => logs::run(&arguments),
    }
}
