//! Launching a job's processes and making sure they are gone afterwards.
//!
//! [`spawn`] does not start the job's program itself: it starts `<shim> exec-shim`, a small
//! single-threaded supervisor whose body is [`shim_main`], and the supervisor starts the program.
//! The two talk over one socket, and the end of that socket is the end of the job: when the worker
//! drops its [`Process`], or dies, the supervisor kills every process below it.
//!
//! On Linux the supervisor is the *subreaper* of everything it starts, so processes that called
//! `setsid` or forked twice are still below it and are found by walking its descendants. macOS has
//! no such thing; see [`Process::reap`] for what is promised there.
//!
//! This is the only crate of the workspace with `unsafe` code.

mod account;
mod cdi;
mod cgroup;
mod control;
mod darwin;
mod ends;
mod error;
mod exit;
mod held;
mod isolation;
mod launch;
mod memory;
mod oci;
#[cfg(target_os = "linux")]
mod overlay;
mod process;
mod receive;
mod run;
mod shim;
mod tree;
mod wire;

pub use account::Account;
pub use cdi::{CdiError, Edits, Node, Registry, node};
pub use cgroup::{Cgroups, Cleaned, Controller, Group, GroupLimits, Layout, Tally, clean};
pub use darwin::{
    Facts, Plan, PlanStep, Profile, ProfileError, Reach, darwin_file_rules, plan, profile,
};
pub use error::SpawnError;
pub use exit::Exit;
pub use isolation::{
    Access, Entry, FileRule, Isolation, JobPaths, Machine, Means, Network, RealMachine, Refused,
    Sought, Step, VolumePaths, among_programs, file_rules, probe, probe_kinds,
};
pub use launch::{Launch, Limits, RUNNER_FD_VARIABLE};
pub use oci::{Container, Engine, OciRuntime, RuntimeError, UserRange, remove_cgroups};
#[cfg(target_os = "linux")]
pub use overlay::Overlay;
pub use process::{Process, spawn};
pub use run::{Output, run};
pub use shim::{SHIM_COMMAND, shim_main};
#[cfg(not(target_os = "linux"))]
pub use tree::end_strays;
pub use tree::{end_found, names};
