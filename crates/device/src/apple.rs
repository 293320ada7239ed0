//! Apple: facts from sysctl and the I/O registry, and what follows from them.

mod chip;
mod condition;
mod displays;
mod inventory;
mod learn;
#[cfg(target_os = "macos")]
mod macos;
mod raw;

#[cfg(test)]
pub(crate) mod captures;

pub(crate) use chip::Chip;
pub(crate) use inventory::inventory;
pub(crate) use learn::learn;
#[cfg(target_os = "macos")]
pub(crate) use macos::{System, discover};
pub(crate) use raw::{Raw, Value};
