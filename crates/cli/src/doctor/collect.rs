//! Looking at the machine.

mod disk;
mod gateway;
mod power;
mod worker;

use std::path::Path;

use nix::sys::resource::{Resource, getrlimit};

use super::facts::Facts;
use crate::failure::Failure;
use crate::machine::Machine;
use crate::settings::Settings;

/// Looks at everything.
///
/// # Errors
///
/// If the settings make no sense.
pub(crate) async fn collect(settings: &Settings) -> Result<Facts, Failure> {
    let worker = settings.worker().map_err(Failure::usage)?;
    let gateway = settings.gateway().map_err(Failure::usage)?;
    Ok(Facts {
        machine: Machine::look(),
        version: sysinfo::System::os_version().unwrap_or_default(),
        is_mac: cfg!(target_os = "macos"),
        open_files: getrlimit(Resource::RLIMIT_NOFILE).ok(),
        worker: worker::look(&worker, &gateway.juicefs).await?,
        gateway: gateway::look(&gateway),
        power: power::look(),
    })
}

/// A directory, or the nearest one above it that is there.
fn nearest(path: &Path) -> &Path {
    path.ancestors().find(|path| path.exists()).unwrap_or(path)
}
