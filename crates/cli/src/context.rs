//! What every command gets.

use std::future::Future;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::arguments::Global;
use crate::failure::Failure;
use crate::output::Output;
use crate::settings::{Flags, Settings};
use crate::{environment, logging};

/// The program's surroundings.
#[derive(Debug)]
pub(crate) struct Context {
    /// Where data goes.
    pub(crate) output: Output,
    /// The configuration file that was named on the command line.
    pub(crate) config: Option<PathBuf>,
    log: Option<String>,
}

impl Context {
    pub(crate) fn new(global: &Global) -> Self {
        Self {
            output: Output::new(global.json),
            config: global.config.clone(),
            log: global.log.clone().or_else(|| environment::read(environment::LOG)),
        }
    }

    /// The settings, with a command's flags on top.
    ///
    /// # Errors
    ///
    /// If the configuration is wrong.
    pub(crate) fn settings(&self, flags: Flags) -> Result<Settings, Failure> {
        Settings::load(self.config.as_deref(), flags).map_err(Failure::usage)
    }

    /// The settings of the user whose home this is.
    ///
    /// # Errors
    ///
    /// If the configuration is wrong.
    pub(crate) fn settings_at(&self, home: &Path, flags: Flags) -> Result<Settings, Failure> {
        Settings::load_at(home, self.config.as_deref(), flags).map_err(Failure::usage)
    }

    /// Starts the log, with `default` for what to log unless the user has said.
    ///
    /// # Errors
    ///
    /// If what the user said is no filter.
    pub(crate) fn start_log(&self, default: &str) -> Result<(), Failure> {
        logging::start(self.log.as_deref().unwrap_or(default))
    }

    /// What to log, where the user has said.
    pub(crate) fn log(&self) -> Option<&str> {
        self.log.as_deref()
    }
}

/// Runs a command that asks a gateway something.
pub(crate) fn ask<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    run(tokio::runtime::Builder::new_current_thread(), work)
}

/// Runs a command that serves.
pub(crate) fn serve<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    run(tokio::runtime::Builder::new_multi_thread(), work)
}

fn run<T>(
    mut builder: tokio::runtime::Builder,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let runtime = builder.enable_all().build().context("cannot start the async runtime");
    runtime.map_err(Failure::ours)?.block_on(work)
}
