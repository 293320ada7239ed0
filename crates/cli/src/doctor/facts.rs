//! What is known about a machine.

use std::path::PathBuf;

use metal9_sandbox::Means;
use metal9_service::{Manager, Scope, Standing};
use metal9_worker::Containers;

use crate::machine::Machine;

/// Everything that was looked at.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) machine: Machine,
    /// The system's version, as `14.5`.
    pub(crate) version: String,
    /// Whether this is macOS.
    pub(crate) is_mac: bool,
    /// Files a process may open: now, and at most.
    pub(crate) open_files: Option<(u64, u64)>,
    pub(crate) worker: WorkerFacts,
    /// Nothing where no gateway has run.
    pub(crate) gateway: Option<GatewayFacts>,
    pub(crate) power: Option<Power>,
}

/// What a worker needs.
#[derive(Clone, Debug)]
pub(crate) struct WorkerFacts {
    pub(crate) state: Directory,
    /// The uv and the Pythons, or why they cannot be used.
    pub(crate) programs: Result<Programs, String>,
    /// What isolates jobs, or why that could not be tried.
    pub(crate) means: Result<Means, String>,
    /// How many kinds of jobs there are here, each isolated in another way.
    pub(crate) kinds: usize,
    /// Those that cannot be started, and why.
    pub(crate) refused: Vec<String>,
    /// Why jobs do not see the GPU, on a Mac where they do not.
    pub(crate) unseen: Option<String>,
    /// What makes containers of jobs, or why that does not work; nothing if they are processes of the
    /// machine.
    pub(crate) containers: Option<Result<Containers, NoContainers>>,
    /// The setting `worker.isolation`.
    pub(crate) isolation: String,
    /// What holds containers to their memory, in words; empty if nothing does.
    pub(crate) cgroups: Vec<String>,
    pub(crate) membership: Membership,
    pub(crate) service: ServiceFacts,
    /// Why a JuiceFS file system cannot be mounted for jobs; nothing if it can.
    pub(crate) juicefs: Option<String>,
}

/// Why no container can be made.
#[derive(Clone, Debug)]
pub(crate) struct NoContainers {
    /// The setting `worker.runtime`.
    pub(crate) runtime: String,
    pub(crate) why: String,
    /// It is not installed.
    pub(crate) is_missing: bool,
    /// This is root, as a worker has to be.
    pub(crate) is_root: bool,
}

/// uv and the Pythons.
#[derive(Clone, Debug, Default)]
pub(crate) struct Programs {
    pub(crate) uv: Option<PathBuf>,
    pub(crate) pythons: Option<Vec<String>>,
    /// Those under which the kernel's limit of memory is lost.
    pub(crate) restarting: Vec<String>,
    pub(crate) python: Option<String>,
}

/// A directory for state.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    pub(crate) path: PathBuf,
    /// Why nothing can be written there.
    pub(crate) unwritable: Option<String>,
    /// The kind of its file system, as `ext4`.
    pub(crate) filesystem: Option<String>,
    pub(crate) free_mib: Option<u64>,
}

/// What the worker has joined, and what the gateway says to it.
#[derive(Clone, Debug)]
pub(crate) enum Membership {
    /// It has not joined.
    None,
    /// Its identity cannot be read, and why.
    Unreadable(String),
    /// It has joined.
    Joined {
        pool: String,
        gateway: String,
        /// Whether TLS is spoken with it.
        is_private: bool,
        answer: Answer,
    },
}

/// What came of asking the gateway.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// It knows the worker.
    Known { took_ms: u128, clock_ahead: Option<i64> },
    /// It does not accept the worker.
    Refused(String),
    /// It could not be asked: why, and what to do.
    Failed(String, Option<String>),
}

/// The service.
#[derive(Clone, Debug)]
pub(crate) struct ServiceFacts {
    pub(crate) manager: Manager,
    pub(crate) scope: Scope,
    pub(crate) installed: bool,
    /// It was written for a worker whose jobs are processes of the machine, and this one makes
    /// containers of them.
    pub(crate) is_narrow: bool,
    /// Nothing if the service manager could not be asked.
    pub(crate) standing: Option<Standing>,
    /// Whether a user's services run while the user is not logged in.
    pub(crate) lingers: Option<bool>,
    /// The account's name.
    pub(crate) account: String,
    /// The process that runs a worker on the state directory, whoever has started it.
    pub(crate) holder: Option<String>,
}

/// What a gateway needs.
#[derive(Clone, Debug)]
pub(crate) struct GatewayFacts {
    pub(crate) state: Directory,
    pub(crate) min_free_mib: u64,
    /// Others than its owner can read the key of secrets.
    pub(crate) key_is_open: bool,
    pub(crate) tls: bool,
    /// The addresses that it serves, with who holds the port if that is not this gateway.
    pub(crate) doors: Vec<Door>,
    /// The process id of the gateway if one runs here.
    pub(crate) running: Option<u32>,
    /// Why the JuiceFS file system of its settings cannot be mounted, if that can be seen; nothing if
    /// volumes are in a directory.
    pub(crate) juicefs: Option<Result<String, String>>,
    /// What its HTTP answers, if it runs.
    pub(crate) health: Option<Result<(), String>>,
}

/// An address that is served.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    pub(crate) name: &'static str,
    pub(crate) address: std::net::SocketAddr,
    /// Why it cannot be served, if no gateway runs.
    pub(crate) taken: Option<String>,
}

/// How a Mac gets its power and when it sleeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Power {
    pub(crate) on_battery: bool,
    pub(crate) has_battery: bool,
    /// Minutes until it sleeps on mains power; 0 for never.
    pub(crate) sleep: Option<u32>,
    /// Whether it starts by itself after a power failure.
    pub(crate) autorestart: Option<bool>,
    pub(crate) filevault: Option<bool>,
}
