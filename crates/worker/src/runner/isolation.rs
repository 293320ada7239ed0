//! What keeps the jobs of this worker to themselves.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use metal9_env::Environment;
use metal9_sandbox::{
    Account, Container as OciContainer, Isolation, JobPaths, Means, Network, RealMachine, Sought,
    SpawnError, among_programs, darwin_file_rules, file_rules, probe,
};

use metal9_types::Runtime;
use metal9_volume::MountPath;

use crate::options::{Options, Wish};
use crate::roots::Root;
use crate::runner::account::{self, AccountError};
use crate::runner::oci::{Oci, OciError};
use crate::runner::{ContainerDirectory, Early, Gpus, OwnNetwork, Shape, gpu};
use crate::volumes::Mounted;

/// Why jobs cannot be isolated as the settings want it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IsolationError {
    /// It could not be tried.
    #[error("could not find out what isolates jobs on this machine")]
    Probe(#[source] SpawnError),
    /// The directory of containers cannot be kept from other users.
    #[error("could not close `{}` to other users", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Isolation is required and this machine lacks some of it.
    #[error("the setting isolation = \"required\" cannot be met on this machine: {}", .0.join("; "))]
    Required(Vec<String>),
    /// The network policy cannot be enforced.
    #[error("the setting network = \"{network}\" cannot be met: {reason}")]
    Network {
        /// The setting.
        network: Network,
        /// Why.
        reason: &'static str,
    },
    /// Jobs cannot run as the user they are to run as.
    #[error("the setting job_user = \"{name}\" cannot be met")]
    Account {
        /// The setting.
        name: String,
        /// Why.
        source: AccountError,
    },
    /// There are no containers of the kind that the settings want.
    #[error("the setting runtime = \"{}\" cannot be met", runtime.as_str())]
    Containers {
        /// The setting.
        runtime: Runtime,
        /// Why.
        source: OciError,
    },
    /// A directory for jobs contains what no job may see.
    #[error("`{}` cannot be given to jobs: it contains the worker's own state", .0.display())]
    Shared(PathBuf),
}

/// Why there can be no network policy but `full`.
const SWITCHED_OFF: &str = "isolation is switched off on this worker";
const NO_NAMESPACE: &str = "this machine has no network namespaces that the worker may use";

/// What the gateway is told of the isolation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Described {
    /// A word or two for people who look at workers.
    pub(crate) words: String,
    /// Whether each container has a network of its own.
    pub(crate) own_networks: bool,
}

/// How the worker isolates its jobs.
#[derive(Debug)]
pub(crate) struct Guard {
    /// Nothing if isolation is switched off, or there is none on this system.
    means: Option<Means>,
    /// What the system has to be told with a program.
    early: Early,
    network: Network,
    readable: Vec<PathBuf>,
    writable: Vec<PathBuf>,
    hidden: Vec<PathBuf>,
    /// The home of the worker's user.
    home: PathBuf,
    account: Option<Account>,
    /// What makes containers of jobs; nothing where they are processes of the machine.
    oci: Option<Oci>,
    /// Why jobs do not see the GPU, on a Mac where they do not.
    no_gpu: Option<String>,
}

impl Guard {
    /// Finds out what works here and whether that is what the settings want.
    pub(crate) async fn find(
        options: &Options,
        worker: &str,
        root: &Path,
        containers: &Path,
    ) -> Result<Self, IsolationError> {
        // Whatever a job makes of its files, nobody but the worker's user gets at them.
        let closed = fs::set_permissions(containers, fs::Permissions::from_mode(0o700));
        closed
            .map_err(|source| IsolationError::Directory { path: containers.to_owned(), source })?;
        let account = match &options.job_user {
            Some(name) => Some(
                account::find(name, root, containers)
                    .map_err(|source| IsolationError::Account { name: name.clone(), source })?,
            ),
            None => None,
        };
        let oci = containers_of(options, worker, root, containers).await?;
        if oci.is_some() {
            // What users of containers have to read, others of the machine must not. Only root passes,
            // who mounts it for them.
            let closed = fs::set_permissions(root, fs::Permissions::from_mode(0o700));
            closed.map_err(|source| IsolationError::Directory { path: root.to_owned(), source })?;
        }
        let sought = match options.isolation {
            Wish::Off => Sought::Limits,
            Wish::On | Wish::Required => Sought::Everything,
        };
        let means = match &oci {
            Some(_) => Oci::means(),
            None => try_out(&options.shim, containers, sought).await?,
        };
        let gaps = match &oci {
            Some(oci) => oci.gaps().to_vec(),
            None => means.gaps().into_iter().map(str::to_owned).collect(),
        };
        match options.isolation {
            Wish::Off => tracing::warn!("ISOLATION IS SWITCHED OFF: jobs may do all this user may"),
            Wish::Required if !gaps.is_empty() => return Err(IsolationError::Required(gaps)),
            _ if !means.isolate() => {
                tracing::warn!("JOBS ARE NOT ISOLATED: this machine has no means for it");
            }
            _ if gaps.is_empty() => tracing::info!(%means, "jobs are isolated"),
            _ => tracing::warn!(%means, missing = gaps.join("; "), "jobs are isolated in part"),
        }
        let is_mac = cfg!(target_os = "macos");
        if is_mac && !means.memory_limit {
            tracing::warn!("the kernel takes no limit of memory; it is looked at instead");
        }
        let mut guard = Self {
            means: means.isolate().then_some(means),
            early: Early { gpu: is_mac, memory: means.memory_limit },
            network: options.network,
            readable: options.readable.clone(),
            writable: options.writable.clone(),
            hidden: hidden(options, root),
            home: std::env::home_dir().unwrap_or_default(),
            account,
            oci,
            no_gpu: None,
        };
        if let Some(reason) = guard.cannot(options.network) {
            return Err(IsolationError::Network { network: options.network, reason });
        }
        // A view covers the worker's state again; without one it would be open.
        let mut shared = guard.readable.iter().chain(&guard.writable);
        if let Some(means) = guard.means
            && !means.view
            && let Some(open) = shared.find(|path| contains(path, root))
        {
            return Err(IsolationError::Shared(open.clone()));
        }
        guard.no_gpu = guard.gpu_obstacle(&options.shim, containers).await?;
        Ok(guard)
    }

    /// What the gateway is told of it.
    pub(crate) fn describe(&self) -> Described {
        let words = match self.means {
            Some(_) if let Some(oci) = &self.oci => oci.describe(),
            None if self.early.memory => "off; memory limit by the kernel".to_owned(),
            None => "off".to_owned(),
            Some(means) => means.to_string(),
        };
        let own_networks = self.oci.as_ref().is_some_and(Oci::has_networks);
        Described { words, own_networks }
    }

    /// What containers lack, as sentences for people.
    pub(crate) fn notes(&self) -> &[String] {
        self.oci.as_ref().map_or(&[], Oci::gaps)
    }

    /// Finds out why jobs do not see the GPU of this Mac; nothing if they do, or this is none.
    pub(crate) async fn gpu_obstacle(
        &self,
        shim: &Path,
        containers: &Path,
    ) -> Result<Option<String>, IsolationError> {
        if !cfg!(target_os = "macos") {
            return Ok(None);
        }
        let path = containers.join("gpu");
        let failed = |source| IsolationError::Directory { path: path.clone(), source };
        let directory = ContainerDirectory::make(path.clone()).map_err(failed)?;
        self.hand_over(directory.path()).map_err(failed)?;
        let environment = [shim.to_owned()];
        let isolation = self.isolate(
            &environment,
            Some(shim),
            &directory,
            Shape { network: Network::None, gpu: true, memory_mib: 0 },
            &[],
        );
        let obstacle = gpu::look(shim, directory.path(), isolation, self.account).await;
        if let Some(reason) = &obstacle {
            tracing::warn!(reason, "jobs do not see a GPU");
        }
        directory.remove().await;
        Ok(obstacle)
    }

    /// The policy of runners whose stub is not known yet.
    pub(crate) fn network(&self) -> Network {
        self.network
    }

    /// What runners are started for whose stub is not known yet; nothing if there is no such thing.
    pub(crate) fn usual(&self) -> Option<Shape> {
        let any = self.shape(self.network, true, u64::MAX);
        (any == self.shape(self.network, false, 0)).then_some(any)
    }

    /// The account that jobs run as, if it is not the worker's own.
    pub(crate) fn account(&self) -> Option<Account> {
        self.account
    }

    /// Whom the files of jobs belong to, if not to the worker's own account.
    pub(crate) fn owner(&self) -> Option<Account> {
        self.account.or_else(|| self.oci.as_ref()?.owner())
    }

    /// The container of a runner, whose runtime has a directory of its own; nothing where a runner is
    /// a process of the machine.
    pub(crate) fn container(
        &self,
        name: &str,
        aside: &Path,
        network: Option<&OwnNetwork>,
        root: Option<&Root>,
    ) -> Option<OciContainer> {
        let container = self.oci.as_ref()?.container(name, aside.to_owned());
        let network = network.map(OwnNetwork::path);
        let layers = root.map(|root| root.layers.clone()).unwrap_or_default();
        Some(OciContainer { network, layers, ..container })
    }

    /// The user of the machine that is root in containers; nothing where there are none.
    pub(crate) fn shift(&self) -> Option<u32> {
        Some(self.oci.as_ref()?.owner().map_or(0, |owner| owner.uid))
    }

    /// A network for a container that may reach everything, where containers have one of their own.
    pub(crate) async fn own_network(
        &self,
        name: &str,
        policy: Network,
    ) -> io::Result<Option<OwnNetwork>> {
        match &self.oci {
            Some(oci) if policy == Network::Full => oci.network(name).await,
            _ => Ok(None),
        }
    }

    /// Whether jobs can be held to a list of networks, of which they reach all.
    pub(crate) fn keeps_lists(&self) -> bool {
        self.network == Network::Full && self.oci.as_ref().is_some_and(Oci::keeps_lists)
    }

    /// Whether the processes of jobs are none of the machine's.
    pub(crate) fn is_opaque(&self) -> bool {
        self.oci.as_ref().is_some_and(Oci::is_opaque)
    }

    /// Why what a container serves cannot be reached; nothing if it can.
    pub(crate) fn cannot_serve(&self) -> Option<String> {
        self.oci.as_ref()?.cannot_serve()
    }

    /// How containers get GPUs; nothing where jobs are processes of the machine.
    pub(crate) fn gpus(&self) -> Option<&Gpus> {
        Some(&self.oci.as_ref()?.gpus)
    }

    /// Why jobs do not see a GPU, where one might expect that they do.
    pub(crate) fn no_gpu(&self) -> Option<&str> {
        self.no_gpu.as_deref()
    }

    /// Whether jobs can be kept from writing what they may read.
    pub(crate) fn keeps_from_writing(&self) -> bool {
        self.means.is_some_and(|means| means.view || means.landlock > 0 || means.seatbelt)
    }

    /// Makes files those of the account that jobs run as.
    pub(crate) fn hand_over(&self, path: &Path) -> io::Result<()> {
        self.owner().map_or(Ok(()), |owner| account::hand_over(path, owner))
    }

    /// What has to be known of a stub before a runner for it is started.
    pub(crate) fn shape(&self, network: Network, gpu: bool, memory_mib: u64) -> Shape {
        Shape::new(self.early, self.network.max(network), gpu, memory_mib)
    }

    /// Why jobs cannot be held to a policy; nothing if they can.
    pub(crate) fn cannot(&self, network: Network) -> Option<&'static str> {
        match self.means {
            _ if network == Network::Full => None,
            None => Some(SWITCHED_OFF),
            Some(means) => (!means.network).then_some(NO_NAMESPACE),
        }
    }

    /// Why volumes cannot be mounted where they are wanted; nothing if they can.
    pub(crate) fn cannot_mount(
        &self,
        environment: &Environment,
        runner_dir: &Path,
        volumes: &[Mounted],
    ) -> Option<String> {
        let mut reasons = volumes.iter().filter_map(|volume| match &volume.place {
            MountPath::Absolute(path) => self.cannot_mount_at(path, environment, runner_dir),
            MountPath::Code(_) => None,
        });
        reasons.next()
    }

    fn cannot_mount_at(
        &self,
        wanted: &Path,
        environment: &Environment,
        runner_dir: &Path,
    ) -> Option<String> {
        if !self.means.is_some_and(|means| means.view) {
            return Some(format!(
                "a volume is to be mounted at `{}`, and jobs on this worker have no file system of \
                 their own, in which that could be done\n\
                 hint: mount it below the code, as `./data`",
                wanted.display()
            ));
        }
        // What is mounted over a directory of the worker would hide it, and what the worker needs
        // would be made in the volume.
        let needed = [&*environment.dir, &*environment.python, runner_dir];
        self.covers(wanted, needed).then(|| {
            format!(
                "a volume cannot be mounted at `{}`, where this worker has files of its own\n\
                 hint: choose another mount_path, as `/data/models` or `./models`",
                wanted.display()
            )
        })
    }

    /// Whether a place is above or below files that are needed, or that the worker's settings name.
    fn covers<'a>(&'a self, place: &Path, needed: impl IntoIterator<Item = &'a Path>) -> bool {
        let named = self.hidden.iter().chain(&self.readable).chain(&self.writable);
        let mut own = needed.into_iter().chain(named.map(PathBuf::as_path));
        own.any(|path| path.starts_with(place) || place.starts_with(path))
    }

    /// How a runner is isolated.
    pub(crate) fn isolation(
        &self,
        environment: &Environment,
        runner_dir: &Path,
        directory: &ContainerDirectory,
        shape: Shape,
        volumes: &[Mounted],
        rooted: bool,
    ) -> Option<Isolation> {
        let programs = [environment.dir.clone(), runner_dir.to_owned()];
        let python = (!rooted).then_some(&*environment.python);
        self.isolate(&programs, python, directory, shape, volumes)
    }

    /// How a program is isolated that is in a root filesystem and needs nothing else.
    pub(crate) fn isolation_in_root(&self, directory: &ContainerDirectory) -> Option<Isolation> {
        let shape = Shape { network: Network::None, gpu: false, memory_mib: 0 };
        self.isolate(&[], None, directory, shape, &[])
    }

    /// Without an interpreter of the machine, programs are those of a root filesystem.
    fn isolate(
        &self,
        programs: &[PathBuf],
        interpreter: Option<&Path>,
        directory: &ContainerDirectory,
        shape: Shape,
        volumes: &[Mounted],
    ) -> Option<Isolation> {
        let means = self.means?;
        let needed = || programs.iter().map(PathBuf::as_path).chain(interpreter);
        let can_be = |place: &Path| means.view && !self.covers(place, needed());
        let job = JobPaths {
            programs: programs.to_vec(),
            python: interpreter.map(Path::to_owned).unwrap_or_default(),
            rooted: interpreter.is_none(),
            own: directory.path().to_owned(),
            temporary: directory.temporary(),
            readable: self.readable.clone(),
            writable: self.writable.clone(),
            hidden: self.hidden.clone(),
            volumes: volumes.iter().map(|volume| volume.rule(can_be)).collect(),
        };
        let files = if means.seatbelt {
            darwin_file_rules(&RealMachine, &job, &self.home)
        } else {
            file_rules(&RealMachine, &job)
        };
        let files = match &self.oci {
            Some(oci) => oci.with_names(files),
            None => files,
        };
        Some(Isolation { means, files, network: shape.network, gpu: shape.gpu })
    }
}

/// What no job sees: the worker's state, what the settings say, and a home among programs that all
/// jobs read, but for one that the settings open.
fn hidden(options: &Options, root: &Path) -> Vec<PathBuf> {
    let mut hidden = vec![root.to_owned()];
    hidden.extend(options.hidden.iter().cloned());
    let home = std::env::home_dir().filter(|home| {
        let opened = options.readable.contains(home) || options.writable.contains(home);
        cfg!(target_os = "linux") && !opened && among_programs(&RealMachine, home).is_some()
    });
    hidden.extend(home);
    hidden
}

/// What makes containers, if the settings want any.
async fn containers_of(
    options: &Options,
    worker: &str,
    root: &Path,
    containers: &Path,
) -> Result<Option<Oci>, IsolationError> {
    let runtime = options.runtime;
    let failed = |source| IsolationError::Containers { runtime, source };
    if runtime != Runtime::Native {
        let other = match options {
            Options { isolation: Wish::Off, .. } => Some("isolation = \"off\""),
            Options { job_user: Some(_), .. } => Some("job_user"),
            _ => None,
        };
        if let Some(other) = other {
            return Err(failed(OciError::Settings(runtime.as_str(), other)));
        }
    }
    let shared = JobPaths {
        readable: options.readable.clone(),
        writable: options.writable.clone(),
        hidden: hidden(options, root),
        ..JobPaths::default()
    };
    let cdi = &options.cdi_dirs;
    Oci::find(runtime, worker, &options.shim, containers, &shared, cdi).await.map_err(failed)
}

async fn try_out(shim: &Path, containers: &Path, sought: Sought) -> Result<Means, IsolationError> {
    let directory = containers.join("probe");
    let failed = |source| IsolationError::Directory { path: directory.clone(), source };
    fs::create_dir_all(&directory).map_err(failed)?;
    let means = probe(shim, &directory, sought).await.map_err(IsolationError::Probe);
    fs::remove_dir_all(&directory).map_err(failed)?;
    means
}

fn contains(directory: &Path, root: &Path) -> bool {
    let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    real(root).starts_with(real(directory))
}
