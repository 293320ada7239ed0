//! Looking at the machine that this runs on.

use crate::Inventory;
use crate::probe::{ProbeError, Report};

/// Finds out what this machine is and which accelerators it has.
///
/// Takes some milliseconds and starts no process, except on a Mac whose I/O registry has told
/// nothing about its GPU. See [`Inventory::needs_probe`] for what is still missing on a Mac.
#[must_use]
pub fn discover() -> Inventory {
    #[cfg(target_os = "macos")]
    return crate::apple::discover();
    #[cfg(target_os = "linux")]
    return crate::linux::discover();
}

/// The system's own name for the time since the machine was started; it is another after the next
/// start. Nothing if it has none.
#[must_use]
pub fn boot_session() -> Option<String> {
    #[cfg(target_os = "macos")]
    return crate::apple::boot_session();
    #[cfg(target_os = "linux")]
    return crate::linux::boot_session();
}

/// As [`discover`], with what Metal says where [`Inventory::needs_probe`] calls for it: then `probe`
/// is asked, which starts a process and waits for it.
#[must_use]
pub fn discover_with(probe: impl FnOnce() -> Result<Report, ProbeError>) -> Inventory {
    let mut inventory = discover();
    if inventory.needs_probe() {
        inventory.learn(probe());
    }
    inventory
}
