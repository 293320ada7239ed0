//! The worker daemon: session, slots, containers, log shipping.
//!
//! [`join`] turns a join token into an identity on disk; [`run`] is the daemon itself.
//!
//! One task, the manager, owns all state and is told everything through one channel of events:
//! orders and acknowledgements by the session, ends and outputs by the containers. A container is
//! a task of its own that prepares, loads and calls one runner process. Output is numbered and
//! kept in the outbox until the gateway has acknowledged it, so a lost connection loses nothing;
//! what is kept is bounded, and a job that writes faster than the gateway reads blocks in `write`.
//!
//! Wire types stop in `convert`: nothing else but the session knows them.

#![forbid(unsafe_code)]

mod awake;
mod backoff;
mod buckets;
mod caches;
mod check;
mod code;
mod container;
mod containment;
mod convert;
mod credential;
mod devices;
mod dial;
mod errors;
mod event;
#[cfg(fuzzing)]
pub mod fuzzing;
mod gateway;
mod identity;
mod interrupted;
mod join;
mod leftovers;
mod machine;
mod manager;
mod memory;
mod options;
mod outbox;
mod output;
mod paths;
mod relay;
mod report;
mod roots;
mod run;
mod runner;
mod runner_files;
mod session;
mod slept;
mod spares;
mod tunnel;
mod volumes;
mod workspace;

pub use check::{Answer, CheckError, Membership, check, joined};
pub use devices::DevicesError;
pub use identity::IdentityError;
pub use join::{JoinError, Joined, join};
pub use metal9_rootfs::{RUNTIME_COMMAND, runtime_main};
pub use options::{CACHE_CHECK, CACHE_MIB, ImageSettings, JoinOptions, Options, Wish};
pub use paths::PathsError;
pub use run::{RunError, run};
pub use runner::{AccountError, Containers, IsolationError, OciError, containers, gpu_obstacle};
pub use runner_files::RunnerFilesError;
