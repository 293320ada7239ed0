use std::ffi::OsString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::account::Account;
use crate::cgroup::Group;
use crate::isolation::Isolation;
use crate::oci::Container;

/// The environment variable that tells the program which descriptor its channel is.
pub const RUNNER_FD_VARIABLE: &str = "METAL9_RUNNER_FD";

/// What to start, and with what.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The program's file; an absolute path.
    pub program: PathBuf,
    /// Its arguments, without the program's own name.
    pub args: Vec<OsString>,
    /// Its whole environment, to which only [`RUNNER_FD_VARIABLE`] is added.
    pub env: Vec<(String, String)>,
    /// Its working directory.
    pub cwd: PathBuf,
    /// What the kernel holds it to.
    pub limits: Limits,
    /// The cgroup it is in from its first instruction on, if there is one.
    pub group: Option<Group>,
    /// The account that it runs as; `None` for the worker's own. Only root can give it another.
    pub account: Option<Account>,
    /// What keeps it to itself; `None` starts it with everything that the worker may do.
    pub isolation: Option<Isolation>,
    /// The container that it is in, made by an OCI runtime; `None` for a process of the machine. Its
    /// `isolation` then says only what it sees and what it may connect to.
    pub container: Option<Container>,
}

impl Launch {
    /// The directory by which processes of the job are known where they are nobody's children: the
    /// one for temporary files, which every process inherits the name of.
    pub(crate) fn mark(&self) -> Option<PathBuf> {
        let (_, directory) = self.env.iter().rfind(|(name, _)| name == "TMPDIR")?;
        Some(PathBuf::from(directory)).filter(|directory| directory.parent().is_some())
    }
}

/// Limits that the kernel enforces on each process of the job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Most descriptors a process may have open; lowered to what the worker itself may have.
    /// `None` leaves the worker's own limit.
    pub open_files: Option<u64>,
    /// Whether a crash may write a core file.
    pub core_dumps: bool,
    /// Most processes of the account that the job runs as, where that is not the worker's own.
    pub processes: Option<u64>,
    /// On macOS, the most that the physical footprint of the program itself may be, in MiB. What the
    /// program starts is not held to it. Nothing elsewhere.
    pub memory_mib: Option<u64>,
}
