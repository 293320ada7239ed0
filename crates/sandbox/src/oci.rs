//! Containers by an OCI runtime: runc or gVisor's runsc, through their command line.
//!
//! The supervisor starts the runtime instead of the program, and the runtime the program, which
//! becomes the supervisor's child in the end: a runtime that has started its container leaves. From
//! then on everything is as with any other job. What a job sees of the machine is the same list of
//! [`crate::FileRule`]s that native isolation enforces, here as mounts.

mod devices;
mod leftovers;
mod mounts;
mod runtime;
mod seccomp;
mod spec;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::cdi::Edits;

pub use leftovers::remove_cgroups;
#[cfg(target_os = "linux")]
pub(crate) use mounts::RootFiles;
pub use runtime::{Engine, OciRuntime, RuntimeError};
#[cfg(target_os = "linux")]
pub(crate) use spec::{Kind, describe};

/// User ids of a container's own: its root is this user of the machine, and has no rights there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRange {
    /// The id that is root inside.
    pub first: u32,
    /// How many follow.
    pub count: u32,
}

/// A container that an OCI runtime is to make of a launch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// What makes it.
    pub runtime: OciRuntime,
    /// Its name, which no other container of this machine has at the same time.
    pub id: String,
    /// A directory of the container's own, which no job sees: description, state, process id.
    pub directory: PathBuf,
    /// Its user ids; `None` for those of the machine.
    pub users: Option<UserRange>,
    /// The network namespace that it is in; `None` for the one that the policy says.
    pub network: Option<PathBuf>,
    /// The directories of its root filesystem, the top one first, which nobody may write to; none for
    /// one that has nothing in it but what the launch's rules say.
    pub layers: Vec<PathBuf>,
    /// What it gets for the devices that it was given.
    pub edits: Edits,
}

impl Container {
    /// The bundle, which the runtime reads.
    #[must_use]
    pub fn bundle(&self) -> PathBuf {
        self.directory.join("bundle")
    }

    /// Whether programs of the machine prepare it, which read the bundle as its root.
    #[cfg(target_os = "linux")]
    pub(crate) fn has_hooks(&self) -> bool {
        !self.layers.is_empty() && !self.edits.hooks.is_empty()
    }

    /// Where the runtime keeps what it knows.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.directory.join("state")
    }

    /// Where the runtime writes the process id.
    #[must_use]
    pub fn pid_file(&self) -> PathBuf {
        self.directory.join("pid")
    }
}
