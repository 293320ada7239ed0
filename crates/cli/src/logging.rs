//! The log, on stderr.

use std::io::{IsTerminal as _, stderr};

use anyhow::{Context as _, anyhow};
use tracing_subscriber::EnvFilter;

use crate::environment;
use crate::failure::Failure;

/// Starts logging what `filter` lets through.
///
/// # Errors
///
/// If the filter or the format is not one.
pub(crate) fn start(filter: &str) -> Result<(), Failure> {
    let filter: EnvFilter = filter
        .parse()
        .with_context(|| format!("`{filter}` is no log filter, as `info` is"))
        .map_err(Failure::usage)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal());
    let started = match environment::read(environment::LOG_FORMAT).as_deref() {
        None | Some("text") => builder.try_init(),
        Some("json") => builder.json().try_init(),
        Some(other) => {
            let name = environment::LOG_FORMAT;
            return Err(Failure::usage(anyhow!(
                "`{name}` must be `text` or `json`, not `{other}`"
            )));
        }
    };
    started.map_err(|error| Failure::ours(anyhow!(error)))
}
