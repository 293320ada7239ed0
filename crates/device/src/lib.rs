//! What a machine is, which accelerators it has, and how they are doing.
//!
//! [`discover`] looks once and quickly; a [`Gauge`] looks again and again. What is read from the
//! system is kept as plain facts (`apple::Raw`, `nvidia::Raw`, `linux::Facts`), and pure functions
//! make an [`Inventory`] of them, so that everything but the reading is the same on every system.
//!
//! The figures of Metal come from a [`probe`], a process that lives for a moment: this one never
//! touches Metal, so a fault of its driver ends only the probe, and the probe can be run where jobs
//! run. [`simulate`] makes devices that are not there.

#![cfg_attr(not(target_os = "macos"), forbid(unsafe_code))]
#![cfg_attr(target_os = "macos", deny(unsafe_code))]

mod apple;
mod cuda;
mod discover;
mod explain;
mod gauge;
mod inventory;
#[cfg(any(target_os = "linux", test))]
mod linux;
mod nvidia;
pub mod probe;
mod process;
mod simulate;

pub use discover::{boot_session, discover, discover_with};
pub use explain::{Explanation, explain};
pub use gauge::Gauge;
pub use inventory::Inventory;
pub use simulate::{Simulated, UnknownDevice, simulate};
