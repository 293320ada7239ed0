//! Containers by an OCI runtime: which one, with which user ids, and whether that works here.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use metal9_sandbox::{
    Account, Container, Engine, FileRule, Isolation, JobPaths, Launch, Limits, Means, Network,
    OciRuntime, RealMachine, RuntimeError, SpawnError, UserRange, file_rules,
};
use metal9_types::Runtime;

use crate::runner::networks::{self, Networks};
use crate::runner::{ContainerDirectory, Gpus, OwnNetwork, account};

/// The user of this machine that root of a container is: far from those that people and programs
/// have, and within what systemd leaves to containers.
const USERS: UserRange = UserRange { first: 1_295_581_184, count: 65_536 };

/// Where systemd-resolved writes what it answers with, and whom it asks itself.
const RESOLVED: &str = "/run/systemd/resolve";

/// Why there are no containers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OciError {
    /// The runtime cannot be used.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// It does not start anything.
    #[error("{runtime} {version} cannot start a container on this machine")]
    Start {
        /// The runtime.
        runtime: &'static str,
        /// Its version.
        version: String,
        /// What it said.
        source: SpawnError,
    },
    /// A directory could not be made.
    #[error("could not make `{}`", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It does not go together with another setting.
    #[error("the setting runtime = \"{0}\" does not go with {1}")]
    Settings(&'static str, &'static str),
}

/// How this worker makes containers.
#[derive(Clone, Debug)]
pub(crate) struct Oci {
    runtime: OciRuntime,
    users: Option<UserRange>,
    /// What the worker puts before the names of its containers.
    prefix: String,
    /// What makes networks of their own for them; nothing where they share the machine's.
    networks: Option<Arc<Networks>>,
    /// What is missing from full isolation, as sentences.
    gaps: Vec<String>,
    /// How they get GPUs.
    pub(crate) gpus: Gpus,
}

/// The engine of a runtime; nothing for processes of the machine itself.
fn engine(runtime: Runtime) -> Option<Engine> {
    match runtime {
        Runtime::Native => None,
        Runtime::Runc => Some(Engine::Runc),
        Runtime::Runsc => Some(Engine::Runsc),
    }
}

impl Oci {
    /// Finds out what works here, where `shared` is what every job gets of the machine; nothing for a worker whose jobs are processes of the machine.
    pub(crate) async fn find(
        runtime: Runtime,
        worker: &str,
        shim: &Path,
        containers: &Path,
        shared: &JobPaths,
        cdi: &[PathBuf],
    ) -> Result<Option<Self>, OciError> {
        let Some(engine) = engine(runtime) else { return Ok(None) };
        // The beginning of an id is a time, which workers may have in common.
        let tail = worker.len().saturating_sub(12);
        let prefix = format!("metal9-{}", worker.get(tail..).unwrap_or(worker));
        let Some(mut oci) = Self::tried(engine, prefix, shim, containers, shared, cdi).await?
        else {
            return Ok(None);
        };
        let prefix = oci.prefix.clone();
        let opened = tokio::task::spawn_blocking(move || Networks::open(&prefix)).await;
        match opened.map_err(io::Error::other).flatten() {
            Ok(networks) => oci.networks = Some(networks),
            Err(error) => {
                tracing::warn!(%error, "CONTAINERS SHARE THE MACHINE'S NETWORK: they can have none of their own");
                oci.gaps.push(format!(
                    "containers share the machine's network and reach its ports, since they can have none \
                     of their own ({})",
                    short(&error.to_string())
                ));
            }
        }
        Ok(Some(oci))
    }

    /// A runtime that has started a container here, without networks; nothing if this process ends.
    async fn tried(
        engine: Engine,
        prefix: String,
        shim: &Path,
        containers: &Path,
        shared: &JobPaths,
        cdi: &[PathBuf],
    ) -> Result<Option<Self>, OciError> {
        let found = tokio::task::spawn_blocking(move || OciRuntime::find(engine)).await;
        let Ok(found) = found else { return Ok(None) };
        // gVisor keeps its jobs from being root of anything by itself.
        let users = (engine != Engine::Runsc).then_some(USERS);
        let runtime = found?;
        let gpus = Gpus::new(cdi, &runtime);
        let mut oci = Self { runtime, users, prefix, networks: None, gaps: Vec::new(), gpus };
        let mut tried = oci.try_out(shim, containers, shared, None).await;
        if let (Err(error), Some(_)) = (&tried, oci.users) {
            let error = crate::errors::chain(error);
            tracing::warn!(error, "no user namespaces for containers");
            oci.gaps.push(format!(
                "root of a container is root of the machine, since there can be no user namespaces ({})",
                short(&error)
            ));
            oci.users = None;
            tried = oci.try_out(shim, containers, shared, None).await;
        }
        match tried {
            Ok(()) => Ok(Some(oci)),
            Err(TryError::Directory { path, source }) => Err(OciError::Directory { path, source }),
            Err(TryError::Start(source)) => {
                let OciRuntime { engine, version, .. } = oci.runtime;
                Err(OciError::Start { runtime: engine.name(), version, source })
            }
        }
    }

    /// What containers isolate by.
    pub(crate) fn means() -> Means {
        Means {
            seccomp: true,
            view: true,
            hidden_processes: true,
            network: true,
            ..Means::default()
        }
    }

    /// What is missing from full isolation, as sentences.
    pub(crate) fn gaps(&self) -> &[String] {
        &self.gaps
    }

    /// Whether containers have networks of their own.
    pub(crate) fn has_networks(&self) -> bool {
        self.networks.is_some()
    }

    /// A word or two for people who look at workers.
    pub(crate) fn describe(&self) -> String {
        let OciRuntime { engine, version, .. } = &self.runtime;
        let users = if self.users.is_some() { ", user namespace" } else { "" };
        let network = if self.has_networks() { ", own network" } else { "" };
        format!("{} {version}{users}{network}", engine.name())
    }

    /// Whether the processes inside are none of the machine's.
    pub(crate) fn is_opaque(&self) -> bool {
        self.runtime.engine.is_opaque()
    }

    /// Whom the files of a job must belong to.
    pub(crate) fn owner(&self) -> Option<Account> {
        self.users.map(|users| Account { uid: users.first, gid: users.first })
    }

    /// The container of a runner, with a directory of its own for the runtime.
    pub(crate) fn container(&self, name: &str, directory: PathBuf) -> Container {
        Container {
            runtime: self.runtime.clone(),
            id: format!("{}-{name}", self.prefix),
            directory,
            users: self.users,
            network: None,
            layers: Vec::new(),
            edits: metal9_sandbox::Edits::default(),
        }
    }

    /// Whether a container can be held to a list of networks.
    pub(crate) fn keeps_lists(&self) -> bool {
        self.networks.as_ref().is_some_and(|networks| networks.keep_lists())
    }

    /// A network for a container; nothing where containers share the machine's.
    pub(crate) async fn network(&self, name: &str) -> io::Result<Option<OwnNetwork>> {
        let Some(networks) = self.networks.clone() else { return Ok(None) };
        let name = name.to_owned();
        let made = tokio::task::spawn_blocking(move || networks.make(&name)).await;
        made.map_err(io::Error::other)?.map(Some)
    }

    /// The rules for files, with the machine's own way to names: where a program of the machine answers
    /// on its loopback interface, a network of one's own needs those whom that program asks.
    pub(crate) fn with_names(&self, mut files: Vec<FileRule>) -> Vec<FileRule> {
        let real = Path::new(RESOLVED).join("resolv.conf");
        let is_stub =
            |rule: &&mut FileRule| rule.source == Path::new(RESOLVED).join("stub-resolv.conf");
        if self.has_networks()
            && real.exists()
            && let Some(rule) = files.iter_mut().find(is_stub)
        {
            rule.source = real;
        }
        files
    }

    /// Why what a container serves cannot be reached; nothing if it can.
    pub(crate) fn cannot_serve(&self) -> Option<String> {
        let version = &self.runtime.version;
        (!self.runtime.shows_sockets()).then(|| {
            format!(
                "what serves requests cannot be reached in a container of gVisor {version}, which \
                 lets no socket out\n\
                 hint: install a runsc of May 2023 or later on this worker, or give the worker \
                 another `runtime`"
            )
        })
    }

    /// Starts a program that ends at once, with all that every job gets; in a root filesystem of one
    /// layer, if that is given.
    async fn try_out(
        &self,
        shim: &Path,
        containers: &Path,
        shared: &JobPaths,
        layer: Option<&Path>,
    ) -> Result<(), TryError> {
        let path = containers.join("probe");
        let failed = |source| TryError::Directory { path: path.clone(), source };
        let own = ContainerDirectory::make(path.clone()).map_err(failed)?;
        if let Some(owner) = self.owner() {
            account::hand_over(own.path(), owner).map_err(failed)?;
        }
        let aside = path.with_extension("oci");
        let bundle = ContainerDirectory::bare(aside.clone()).map_err(failed)?;
        let job = JobPaths {
            programs: vec![shim.to_owned()],
            own: own.path().to_owned(),
            temporary: own.temporary(),
            ..shared.clone()
        };
        let isolation = Isolation {
            means: Self::means(),
            files: file_rules(&RealMachine, &job),
            network: Network::None,
            gpu: false,
        };
        let launch = Launch {
            program: shim.to_owned(),
            args: vec!["--version".into()],
            env: vec![("TMPDIR".into(), own.temporary().to_string_lossy().into_owned())],
            cwd: "/".into(),
            limits: Limits::default(),
            group: None,
            account: None,
            isolation: Some(isolation),
            container: Some(Container {
                layers: layer.map(Path::to_owned).into_iter().collect(),
                ..self.container("probe", aside)
            }),
        };
        let process = metal9_sandbox::spawn(shim, launch).await.map_err(TryError::Start)?;
        // It has been started, and that is all there is to know.
        let _ = process.kill().await;
        own.remove().await;
        bundle.remove().await;
        Ok(())
    }
}

/// What a worker that makes containers finds on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Containers {
    /// The runtime and its version.
    pub runtime: String,
    /// Whether a runtime that shares the machine's kernel gives them users of their own; `true` for
    /// gVisor, which needs none.
    pub own_users: bool,
    /// Why they have no networks of their own; nothing if they have.
    pub no_network: Option<String>,
    /// Why images cannot be their root filesystems; nothing if they can.
    pub no_images: Option<String>,
    /// Whether images can be built.
    pub builds: bool,
    /// Why what they serve cannot be reached, and what to do; nothing if it can.
    pub no_service: Option<String>,
}

/// Finds out how containers can be made here, and changes nothing. `directory` is one for what has to
/// be there meanwhile. Nothing for processes of the machine.
///
/// A worker finds out by itself when it starts; this is for who wants to know without one.
///
/// # Errors
///
/// If a runtime starts no container.
pub async fn containers(
    runtime: Runtime,
    shim: &Path,
    directory: &Path,
) -> Result<Option<Containers>, OciError> {
    let Some(engine) = engine(runtime) else { return Ok(None) };
    let (prefix, shared) = (format!("metal9-look{}", std::process::id()), JobPaths::default());
    let name = prefix.clone();
    let Some(oci) = Oci::tried(engine, prefix, shim, directory, &shared, &[]).await? else {
        return Ok(None);
    };
    let network = tokio::task::spawn_blocking(move || networks::try_out(&name));
    let no_network = network.await.map_err(io::Error::other).flatten().err();
    let layer = directory.join("layer");
    let made = std::fs::create_dir(&layer);
    made.map_err(|source| OciError::Directory { path: layer.clone(), source })?;
    let no_images = oci.try_out(shim, directory, &shared, Some(&layer)).await.err();
    let OciRuntime { engine, version, .. } = &oci.runtime;
    Ok(Some(Containers {
        runtime: format!("{} {version}", engine.name()),
        own_users: oci.users.is_some() || oci.is_opaque(),
        no_network: no_network.map(|error| error.to_string()),
        no_images: no_images.map(|error| crate::errors::chain(&error)),
        builds: metal9_rootfs::Builder::find(shim).is_some(),
        no_service: oci.cannot_serve(),
    }))
}

/// As much of what went wrong as belongs into a sentence; the log has all of it.
fn short(error: &str) -> String {
    error.lines().next().unwrap_or_default().chars().take(300).collect()
}

/// What went wrong with a trial.
#[derive(Debug, thiserror::Error)]
enum TryError {
    #[error("could not make `{}`", path.display())]
    Directory { path: PathBuf, source: std::io::Error },
    #[error("a container cannot be started")]
    Start(#[source] SpawnError),
}
