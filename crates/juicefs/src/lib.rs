//! A JuiceFS file system: its address and secrets, formatting it, keeping it mounted.
//!
//! `juicefs` runs as a program; what it is told that others must not see goes through its
//! environment. [`Mount`] keeps a file system mounted until it is stopped, whatever happens to the
//! program.

#![forbid(unsafe_code)]

mod access;
mod control;
mod error;
mod format;
mod means;
mod mount;
mod points;
mod program;
mod settings;

pub use access::{Access, AddressError};
pub use error::JuiceFsError;
pub use means::obstacle;
pub use mount::{Mount, Role, Standing, remove_leftover};
pub use points::{Footing, Sound};
pub use settings::{Settings, Storage};
