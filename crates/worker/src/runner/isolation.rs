//! What keeps the jobs of this worker to themselves.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use metal9_env::Environment;
use metal9_sandbox::{
    Isolation, JobPaths, Means, Network, RealMachine, SpawnError, file_rules, probe,
};

use crate::options::{Options, Wish};
use crate::runner::ContainerDirectory;

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
    Required(Vec<&'static str>),
    /// The network policy cannot be enforced.
    #[error("the setting network = \"{network}\" cannot be met: {reason}")]
    Network {
        /// The setting.
        network: Network,
        /// Why.
        reason: &'static str,
    },
    /// A directory for jobs contains what no job may see.
    #[error("`{}` cannot be given to jobs: it contains the worker's own state", .0.display())]
    Shared(PathBuf),
}

/// Why there can be no network policy but `full`.
const SWITCHED_OFF: &str = "isolation is switched off on this worker";
const NO_NAMESPACE: &str = "this machine has no network namespaces that the worker may use";

/// How the worker isolates its jobs.
#[derive(Debug)]
pub(crate) struct Guard {
    /// Nothing if isolation is switched off, or there is none on this system.
    means: Option<Means>,
    network: Network,
    readable: Vec<PathBuf>,
    writable: Vec<PathBuf>,
    hidden: Vec<PathBuf>,
}

impl Guard {
    /// Finds out what works here and whether that is what the settings want.
    pub(crate) async fn find(
        options: &Options,
        root: &Path,
        containers: &Path,
    ) -> Result<Self, IsolationError> {
        // Whatever a job makes of its files, nobody but the worker's user gets at them.
        let closed = fs::set_permissions(containers, fs::Permissions::from_mode(0o700));
        closed
            .map_err(|source| IsolationError::Directory { path: containers.to_owned(), source })?;
        let means = match options.isolation {
            Wish::Off => Means::default(),
            Wish::On | Wish::Required => try_out(&options.shim, containers).await?,
        };
        let gaps = means.gaps();
        match options.isolation {
            Wish::Off => tracing::warn!("ISOLATION IS SWITCHED OFF: jobs may do all this user may"),
            Wish::Required if !gaps.is_empty() => return Err(IsolationError::Required(gaps)),
            _ if means == Means::default() => {
                tracing::warn!("JOBS ARE NOT ISOLATED: this machine has no means for it");
            }
            _ if gaps.is_empty() => tracing::info!(%means, "jobs are isolated"),
            _ => tracing::warn!(%means, missing = gaps.join("; "), "jobs are isolated in part"),
        }
        let guard = Self {
            means: (means != Means::default()).then_some(means),
            network: options.network,
            readable: options.readable.clone(),
            writable: options.writable.clone(),
            hidden: vec![root.to_owned()],
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
        Ok(guard)
    }

    /// A word or two for people who look at workers.
    pub(crate) fn describe(&self) -> String {
        match self.means {
            None => "off".to_owned(),
            Some(means) => means.to_string(),
        }
    }

    /// The policy of runners whose stub is not known yet.
    pub(crate) fn network(&self) -> Network {
        self.network
    }

    /// Why jobs cannot be held to a policy; nothing if they can.
    pub(crate) fn cannot(&self, network: Network) -> Option<&'static str> {
        match self.means {
            _ if network == Network::Full => None,
            None => Some(SWITCHED_OFF),
            Some(means) => (!means.network).then_some(NO_NAMESPACE),
        }
    }

    /// How a runner is isolated.
    pub(crate) fn isolation(
        &self,
        environment: &Environment,
        runner_dir: &Path,
        directory: &ContainerDirectory,
        network: Network,
    ) -> Option<Isolation> {
        let means = self.means?;
        let job = JobPaths {
            programs: vec![environment.dir.clone(), runner_dir.to_owned()],
            python: environment.python.clone(),
            own: directory.path().to_owned(),
            temporary: directory.temporary(),
            readable: self.readable.clone(),
            writable: self.writable.clone(),
            hidden: self.hidden.clone(),
        };
        Some(Isolation { means, files: file_rules(&RealMachine, &job), network })
    }
}

async fn try_out(shim: &Path, containers: &Path) -> Result<Means, IsolationError> {
    let directory = containers.join("probe");
    let failed = |source| IsolationError::Directory { path: directory.clone(), source };
    fs::create_dir_all(&directory).map_err(failed)?;
    let means = probe(shim, &directory).await.map_err(IsolationError::Probe);
    fs::remove_dir_all(&directory).map_err(failed)?;
    means
}

fn contains(directory: &Path, root: &Path) -> bool {
    let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    real(root).starts_with(real(directory))
}
