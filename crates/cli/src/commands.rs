//! The commands, one file each.

pub(crate) mod audit;
pub(crate) mod config;
pub(crate) mod dev;
pub(crate) mod devices;
pub(crate) mod doctor;
pub(crate) mod gateway;
pub(crate) mod image;
pub(crate) mod probe_metal;
pub(crate) mod selftest;
pub(crate) mod status;
pub(crate) mod task;
pub(crate) mod token;
pub(crate) mod worker;
pub(crate) mod workspace;

use clap::CommandFactory as _;

use crate::arguments::{Arguments, Command};
use crate::context::Context;
use crate::failure::Failure;
use crate::output;

/// Runs a command.
///
/// # Errors
///
/// If it fails.
pub(crate) fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Dev(arguments) => dev::run(context, &arguments),
        Command::Gateway(arguments) => gateway::run(context, &arguments),
        Command::Worker(command) => worker::run(context, command),
        Command::Status(arguments) => status::run(context, &arguments),
        Command::Devices(arguments) => devices::run(context, &arguments),
        Command::Image(command) => image::run(context, command),
        Command::Task(command) => task::run(context, &command),
        Command::Token(command) => token::run(context, &command),
        Command::Workspace(command) => workspace::run(context, &command),
        Command::Audit(arguments) => audit::run(context, &arguments),
        Command::Doctor(arguments) => doctor::run(context, &arguments),
        Command::Selftest(arguments) => selftest::run(context, &arguments),
        Command::Config(config::Command::Dump) => config::dump(context),
        Command::ProbeMetal => probe_metal::run(),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "metal9", &mut script);
            output::print(&script)
        }
    }
}
