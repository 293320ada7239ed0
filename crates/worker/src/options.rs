//! What a worker is started with.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use metal9_sandbox::Network;
use metal9_types::{OnBattery, Runtime};
use serde::Deserialize;

/// Whether jobs are isolated from the machine and from each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wish {
    /// As well as this machine can.
    #[default]
    On,
    /// In full, or the worker does not start.
    Required,
    /// Not at all, to find out whether isolation is what breaks a job.
    Off,
}

impl FromStr for Wish {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "on" => Ok(Self::On),
            "required" => Ok(Self::Required),
            "off" => Ok(Self::Off),
            _ => Err(()),
        }
    }
}

/// Room for environments, code and the package cache if nobody says otherwise, in MiB. An environment
/// with PyTorch for CUDA takes some 6 GiB.
pub const CACHE_MIB: u64 = 20 * 1024;

/// How often the caches are measured if nobody says otherwise: that is a look at every file of
/// theirs.
pub const CACHE_CHECK: Duration = Duration::from_secs(600);

/// `[images]`: root filesystems of containers. What is not set is as usual.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageSettings {
    /// Room for layers and what builds keep, in MiB.
    pub cache_mib: Option<u64>,
    /// The image that a build begins with whose client names none; `{version}` is a version of Python.
    pub base: Option<String>,
    /// Registries that are spoken to without TLS, as `host:port`, separated by commas.
    pub insecure_registries: Option<String>,
    /// Where images are that come from no registry: OCI image layouts, as directories or archives.
    pub layouts_dir: Option<PathBuf>,
    /// How long a build may take.
    pub build_timeout_seconds: Option<u64>,
}

/// Everything [`crate::run`] needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory of the identity, environments, code and containers; made if it is not there.
    pub state_dir: PathBuf,
    /// The gateway's gRPC address, as `host:port` or `https://host:port`; empty for the one the
    /// worker has joined.
    pub gateway: String,
    /// The pool the worker is meant to be in; empty for the one it has joined.
    pub pool: String,
    /// Processor cores given to jobs; nothing for all of them.
    pub cpu: Option<f64>,
    /// Memory given to jobs, in MiB; nothing for nine tenths of the machine's.
    pub memory_mib: Option<u64>,
    /// Room for environments, code and the package cache, in MiB: what was not used for longest
    /// goes when they take more.
    pub cache_mib: u64,
    /// How often they are measured.
    pub cache_check: Duration,
    /// The uv that builds environments; nothing to find or install one.
    pub uv: Option<PathBuf>,
    /// The Python version for images that ask for any, as `3.11`.
    pub python: Option<String>,
    /// Jobs that each accelerator takes at a time; 0 counts as 1.
    pub gpu_slots: u32,
    /// What the worker does while its machine runs on a battery.
    pub on_battery: OnBattery,
    /// Devices to pretend to have, by name, for tests and trying things out.
    pub simulate_devices: Vec<String>,
    /// A file that describes the machine to pretend to be, for tests.
    pub simulate_machine: Option<PathBuf>,
    /// A file that says how the machine pretends to be doing, read again and again, for tests.
    pub simulate_condition: Option<PathBuf>,
    /// Free-form labels that jobs can ask for.
    pub labels: BTreeMap<String, String>,
    /// Whether containers are held by cgroups where there are any.
    pub cgroups: bool,
    /// Most processes and threads of a container, where cgroups count them; 0 for no limit,
    /// nothing for the default.
    pub pids: Option<u64>,
    /// The most of the processor that a container gets, in percent of what it asked for, even if
    /// nobody else wants it; nothing or 0 for no such limit.
    pub cpu_limit_percent: Option<u64>,
    /// What a container is: a process of the machine, or made by an OCI runtime.
    pub runtime: Runtime,
    /// Whether jobs are isolated.
    pub isolation: Wish,
    /// What jobs may connect to, unless their stub asks for less.
    pub network: Network,
    /// The user that jobs run as; nothing for the worker's own. Only a worker that is root can.
    pub job_user: Option<String>,
    /// Directories of this machine that jobs may read.
    pub readable: Vec<PathBuf>,
    /// Directories of this machine that jobs may write.
    pub writable: Vec<PathBuf>,
    /// Directories of this machine that no job may see, wherever they are.
    pub hidden: Vec<PathBuf>,
    /// Directories of files that say what containers need for devices; none for the usual ones.
    pub cdi_dirs: Vec<PathBuf>,
    /// Whether jobs work on copies of volumes also where the worker sees the gateway's disk.
    pub copy_volumes: bool,
    /// Root filesystems of containers.
    pub images: ImageSettings,
    /// How the worker mounts the file system of volumes itself.
    pub juicefs: metal9_juicefs::Settings,
    /// Whether the machine is kept awake while jobs run.
    pub keep_awake: bool,
    /// How long running calls may go on once the worker was told to end.
    pub drain: Duration,
    /// How old the worker's credential may get before the worker asks for a new one; nothing to
    /// keep it.
    pub credential_age: Option<Duration>,
    /// The `metal9` program, which supervises the processes of jobs.
    pub shim: PathBuf,
}

/// Everything [`crate::join`] needs to know.
#[derive(Clone, Debug)]
pub struct JoinOptions {
    /// The gateway's gRPC address, as `host:port` or `https://host:port`.
    pub gateway: String,
    /// The fingerprint of the gateway's key, as `sha256:…`: then TLS is spoken with whoever has
    /// that key. Without it, `https://` means a certificate that the system trusts.
    pub fingerprint: Option<String>,
    /// The join token.
    pub token: String,
    /// The pool to join; empty for the token's own.
    pub pool: String,
    /// The worker's state directory; made if it is not there.
    pub state_dir: PathBuf,
}
