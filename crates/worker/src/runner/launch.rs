//! Starting a runner.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metal9_env::Environment;
use metal9_sandbox::{
    CdiError, Container, Edits, Group, Launch, Limits, Network, Output, SpawnError,
};
use metal9_types::ContainerId;
use tokio::sync::mpsc;

use crate::containment::Containment;
use crate::devices::NvidiaGpu;
use crate::event::Event;
use crate::output::Pump;
use crate::roots::Root;
use crate::runner::{
    ContainerDirectory, FrameError, FromRunner, Guard, Happening, Runner, Shape, Supervisor,
};
use crate::runner_files;
use crate::volumes::Mounted;

/// How long a runner may take until it is ready.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// What a runner needs by itself, in MiB, with some air: a limit that is set before it has begun
/// comes on top of that. The watch, which has measured it, is more exact.
const OWN_MIB: u64 = 256;

/// Why there is no runner.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaunchError {
    #[error("could not make the container's directory `{}`", path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error("could not start the runner")]
    Spawn(#[source] SpawnError),
    #[error(
        "the function may not use the network, and {reason} (policy `{network}`)\n\
         hint: run it on another worker, or without `block_network`"
    )]
    Network { network: Network, reason: &'static str },
    #[error(
        "the function asked for a GPU, and functions on this worker see none: {0}\n\
         hint: `metal9 probe-metal` says on the worker's machine what Metal itself says"
    )]
    NoGpu(String),
    #[error("the function's GPU could not be given to its container")]
    Cdi(#[source] CdiError),
    #[error("could not make the container's network")]
    OwnNetwork(#[source] io::Error),
    #[error("{0}")]
    Mount(String),
    #[error("the runner has no socket")]
    NoChannel,
    #[error("the runner did not become ready within {} seconds{}", READY_WITHIN.as_secs(), said(.0))]
    NotReady(String),
    #[error("the runner {end} before it was ready{}", said(output))]
    Ended { end: String, output: String },
    #[error("the runner said something that could not be understood")]
    Nonsense(#[source] FrameError),
}

/// What the process wrote, as the end of a message.
fn said(output: &str) -> String {
    if output.trim().is_empty() { String::new() } else { format!(":\n{}", output.trim_end()) }
}

/// What a runner's process is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Base<'a> {
    /// Its environment, or the packages that are added to its root filesystem.
    pub(crate) environment: &'a Environment,
    /// Its root filesystem; nothing for the machine's own files.
    pub(crate) root: Option<&'a Root>,
    /// The GPUs that its container is given, where it is one.
    pub(crate) gpus: &'a [NvidiaGpu],
}

impl<'a> From<&'a Environment> for Base<'a> {
    fn from(environment: &'a Environment) -> Self {
        Self { environment, root: None, gpus: &[] }
    }
}

/// Starts runners.
#[derive(Debug)]
pub(crate) struct Launcher {
    pub(crate) shim: PathBuf,
    /// Where the runner's Python files are.
    pub(crate) runner_dir: PathBuf,
    /// Where containers' directories are made.
    pub(crate) containers: PathBuf,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) spares: AtomicU64,
    pub(crate) containment: Arc<Containment>,
    pub(crate) guard: Guard,
}

impl Launcher {
    /// A runner that is ready to become any stub of its environment. Its processes and files go
    /// with it, also if this is dropped half-way.
    ///
    /// `container` is nothing for a spare, which gets a directory of its own.
    pub(crate) async fn start(
        &self,
        base: Base<'_>,
        container: Option<ContainerId>,
        shape: Shape,
        volumes: &[Mounted],
    ) -> Result<Runner, LaunchError> {
        let Base { environment, root, .. } = base;
        let network = shape.network;
        if let Some(reason) = self.guard.no_gpu().filter(|_| shape.gpu) {
            return Err(LaunchError::NoGpu(reason.to_owned()));
        }
        if let Some(reason) = self.guard.cannot(network) {
            return Err(LaunchError::Network { network, reason });
        }
        if let Some(reason) = self.guard.cannot_mount(environment, &self.runner_dir, volumes) {
            return Err(LaunchError::Mount(reason));
        }
        let name = match container {
            Some(container) => container.to_string(),
            None => self.name("spare"),
        };
        let directory = self.directory(&name)?;
        let aside = self.aside(&name);
        let own_network = self.guard.own_network(&name, network).await;
        let own_network = own_network.map_err(LaunchError::OwnNetwork)?;
        let container = self.guard.container(&name, &aside, own_network.as_ref(), root);
        let edits = self.edits(base.gpus)?;
        let container = container.map(|container| Container { edits, ..container });
        let aside = container.is_some().then(|| bare(aside)).transpose()?;
        let launch = self.launch(base, &directory, shape, volumes);
        let launch = Launch { group: self.group(&name), container, ..launch };
        let mut process =
            metal9_sandbox::spawn(&self.shim, launch).await.map_err(LaunchError::Spawn)?;
        let channel = process.take_channel().ok_or(LaunchError::NoChannel)?;
        let pump = Pump::start(process.take_stdout(), process.take_stderr(), self.events.clone());
        let listeners = process.take_listeners();
        let mut runner = Runner::new(Supervisor::Process(process), channel, pump, directory);
        runner.environment = environment.lease.clone();
        runner.root = root.map(|root| root.lease.clone());
        runner.listeners = listeners;
        runner.aside = aside;
        runner.own_network = own_network;
        if shape.memory_mib > 0 {
            runner.memory.set_fatal();
        }
        let ready = tokio::time::timeout(READY_WITHIN, until_ready(&mut runner)).await;
        match ready {
            Ok(Ok(())) => Ok(runner),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(LaunchError::NotReady(runner.pump.unclaimed().await)),
        }
    }

    /// What a container gets for its GPUs.
    fn edits(&self, gpus: &[NvidiaGpu]) -> Result<Edits, LaunchError> {
        match self.guard.gpus().filter(|_| !gpus.is_empty()) {
            Some(means) => means.edits(gpus).map_err(LaunchError::Cdi),
            None => Ok(Edits::default()),
        }
    }

    /// A container's own directory, which its jobs can use.
    fn directory(&self, name: &str) -> Result<ContainerDirectory, LaunchError> {
        let path = self.containers.join(name);
        let failed = |source| LaunchError::Directory { path: path.clone(), source };
        let directory = ContainerDirectory::make(path.clone()).map_err(failed)?;
        self.guard.hand_over(directory.path()).map_err(failed)?;
        Ok(directory)
    }

    /// Where the OCI runtime of a container keeps what it knows.
    fn aside(&self, name: &str) -> PathBuf {
        self.containers.join(name).with_extension("oci")
    }

    /// A name that no container has.
    pub(crate) fn name(&self, what: &str) -> String {
        format!("{what}-{}", self.spares.fetch_add(1, Ordering::Relaxed))
    }

    /// Runs a root filesystem's Python to its end, alone and without a network.
    pub(crate) async fn run_in(
        &self,
        root: &Root,
        args: Vec<OsString>,
        within: Duration,
    ) -> Result<Output, LaunchError> {
        let name = self.name("probe");
        let (directory, aside) = (self.directory(&name)?, bare(self.aside(&name))?);
        let launch = Launch {
            program: root.python.clone().into(),
            args,
            env: root.env.clone(),
            cwd: "/".into(),
            limits: Limits { processes: self.containment.pids, ..Limits::default() },
            group: self.group(&name),
            container: self.guard.container(&name, aside.path(), None, Some(root)),
            account: None,
            isolation: self.guard.isolation_in_root(&directory),
        };
        let output = metal9_sandbox::run(&self.shim, launch, within).await;
        directory.remove().await;
        aside.remove().await;
        output.map_err(LaunchError::Spawn)
    }

    fn variables(&self, base: Base<'_>, directory: &ContainerDirectory) -> Vec<(String, String)> {
        let mut variables = variables(base, directory);
        if self.guard.is_opaque() {
            variables.push((ENDS_STRAYS.to_owned(), "1".to_owned()));
        }
        variables
    }

    /// A cgroup of its own, if there are any here.
    fn group(&self, name: &str) -> Option<Group> {
        self.containment.cgroups.create(name).unwrap_or_else(|error| {
            // The container is watched as on a machine without cgroups.
            tracing::warn!(container = name, %error, "could not make a cgroup");
            None
        })
    }

    /// The process of a runner: nothing of the worker's own environment is passed on.
    fn launch(
        &self,
        base: Base<'_>,
        directory: &ContainerDirectory,
        shape: Shape,
        volumes: &[Mounted],
    ) -> Launch {
        let Base { environment, root, .. } = base;
        let program = runner_files::program(&self.runner_dir);
        Launch {
            program: root.map_or_else(|| environment.python.clone(), |root| (&root.python).into()),
            args: vec!["-s".into(), program.into_os_string()],
            env: self.variables(base, directory),
            cwd: directory.code(),
            limits: Limits {
                open_files: None,
                core_dumps: false,
                processes: self.containment.pids,
                memory_mib: (shape.memory_mib > 0).then(|| shape.memory_mib + OWN_MIB),
            },
            group: None,
            container: None,
            account: self.guard.account(),
            isolation: self.guard.isolation(
                environment,
                &self.runner_dir,
                directory,
                shape,
                volumes,
                root.is_some(),
            ),
        }
    }
}

/// A directory that no job sees.
fn bare(path: PathBuf) -> Result<ContainerDirectory, LaunchError> {
    let failed = |source| LaunchError::Directory { path: path.clone(), source };
    ContainerDirectory::bare(path.clone()).map_err(failed)
}

/// Tells a runner that nobody else ends what its calls leave behind.
const ENDS_STRAYS: &str = "METAL9_ENDS_STRAYS";

/// Tells a runner where the packages are that a root filesystem's own Python does not have.
const PACKAGES: &str = "METAL9_PACKAGES";

fn variables(base: Base<'_>, directory: &ContainerDirectory) -> Vec<(String, String)> {
    let Base { environment, root, .. } = base;
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let own = match root {
        None => vec![
            (
                "PATH",
                format!("{}:/usr/local/bin:/usr/bin:/bin", text(&environment.dir.join("bin"))),
            ),
            ("VIRTUAL_ENV", text(&environment.dir)),
        ],
        Some(_) => vec![(PACKAGES, text(&environment.python))],
    };
    let always = [
        ("HOME", text(&directory.home())),
        ("TMPDIR", text(&directory.temporary())),
        ("PYTHONUNBUFFERED", "1".to_owned()),
    ];
    let own = own.into_iter().chain(always).map(|(name, value)| (name.to_owned(), value));
    let mut variables: BTreeMap<String, String> =
        root.map(|root| root.env.iter().cloned().collect()).unwrap_or_default();
    variables.entry("LANG".to_owned()).or_insert_with(|| "C.UTF-8".to_owned());
    variables.extend(own);
    variables.into_iter().collect()
}

/// Waits for the first message and measures what the runner needs by itself.
async fn until_ready(runner: &mut Runner) -> Result<(), LaunchError> {
    let end = loop {
        match runner.happens().await {
            Happening::Message(FromRunner::Ready { pid, python, versions }) => {
                tracing::debug!(pid, python, ?versions, "a runner is ready");
                runner.python = python;
                let baseline = runner.supervisor.memory_exact().unwrap_or(0);
                runner.memory.set_baseline(baseline);
                return Ok(());
            }
            Happening::Message(_) | Happening::Memory(_) | Happening::VolumesLost => {}
            Happening::Broken(error) => return Err(LaunchError::Nonsense(error)),
            Happening::Closed => break runner.supervisor.wait().await,
            Happening::Exit(exit) => break exit,
        }
    };
    let output = runner.pump.unclaimed().await;
    Err(LaunchError::Ended { end: crate::container::exit_text(end), output })
}
