//! Apple: facts from sysctl and the I/O registry, and what follows from them.

#[cfg(test)]
pub(crate) mod captures;
mod chip;
#[cfg(any(target_os = "macos", test))]
mod condition;
#[cfg(any(target_os = "macos", test))]
mod displays;
#[cfg(any(target_os = "macos", test))]
mod inventory;
mod learn;
#[cfg(target_os = "macos")]
mod macos;
#[cfg(any(target_os = "macos", test))]
mod raw;

pub(crate) use chip::Chip;
#[cfg(any(target_os = "macos", test))]
pub(crate) use inventory::inventory;
pub(crate) use learn::{learn, withdraw};
#[cfg(target_os = "macos")]
pub(crate) use macos::{System, boot_session, discover};
#[cfg(any(target_os = "macos", test))]
pub(crate) use raw::{Raw, Value};
