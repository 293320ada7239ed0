//! Python environments: an image becomes a lock, a lock becomes a directory, built by uv.
//!
//! [`Environments::lock`] resolves an image once; [`Environments::ensure`] makes the directory of a
//! lock, once per machine, and answers at once when it is there. uv runs as a program; nothing of a
//! package runs in this process.

#![forbid(unsafe_code)]

mod build;
mod child_env;
mod collect;
mod environments;
mod error;
mod flight;
mod hold;
mod layout;
mod lease;
mod lock;
mod managed;
mod output;
mod process;
mod pythons;
mod reason;
mod requirements;
mod runner;
mod survey;
mod talk;
mod tools;
mod uv;

pub use child_env::is_package_source;
pub use collect::Collected;
pub use environments::{Environment, Environments, Options, Progress};
pub use error::EnvError;
pub use lease::Lease;
pub use output::{Lines, ProcessGroup};
pub use survey::{Survey, survey};
pub use tools::Tool;
