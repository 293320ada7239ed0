//! NVIDIA: what NVML tells, and what follows from it.

#[cfg(any(target_os = "linux", test))]
mod inventory;
mod name;
#[cfg(target_os = "linux")]
mod read;

pub(crate) use name::kind;
#[cfg(target_os = "linux")]
pub(crate) use {inventory::add, read::Reader};
