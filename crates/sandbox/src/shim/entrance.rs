//! The new process, from its first instruction to the program.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as system;
#[cfg(not(target_os = "linux"))]
mod macos;
#[cfg(not(target_os = "linux"))]
use macos as system;

pub(super) use system::Entrance;
#[cfg(target_os = "linux")]
pub(super) use system::become_account;
