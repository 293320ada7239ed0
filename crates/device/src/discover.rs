//! Looking at the machine that this runs on.

use crate::Inventory;

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
