//! The entry: what a worker asks for.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use metal9_types::{EnvLock, ImageSpec, Platform, PythonVersion, Target};

use crate::build::{Build, Interpreter};
use crate::collect::{self, Collected};
use crate::flight::Flights;
use crate::layout::{self, Layout};
use crate::lease::Lease;
use crate::managed::Interpreters;
use crate::process::{self, Input};
use crate::uv::Uv;
use crate::{EnvError, hold, lock, runner};

/// How often an environment that is removed at once is built again.
const ATTEMPTS: u32 = 3;

/// Receives whole lines of text for the user, each ending in a newline.
pub type Progress = Arc<dyn Fn(&str) + Send + Sync>;

/// Where environments live and what they are made with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory of environments, uv's cache and tools; made if it is not there.
    pub root: PathBuf,
    /// The uv to use; nothing to find or install one.
    pub uv: Option<PathBuf>,
    /// The Python version for images that ask for any, as `3.11`.
    pub python: Option<String>,
    /// Whether Pythons that the machine lacks are installed below the root.
    pub install_pythons: bool,
    /// Python sources that every environment's Python byte-compiles.
    pub runner_dir: PathBuf,
}

/// A Python environment that is ready. Its files are read-only.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Environment {
    /// The hash of its lock.
    pub hash: String,
    /// Its directory.
    pub dir: PathBuf,
    /// Its Python.
    pub python: PathBuf,
    /// Keeps it from being removed.
    pub lease: Lease,
}

/// All environments of one machine. Cheap to clone; clones share builds.
#[derive(Clone)]
pub struct Environments(Arc<Inner>);

struct Inner {
    uv: Uv,
    pythons: Interpreters,
    layout: Layout,
    runner_dir: PathBuf,
    flights: Flights,
    /// Python versions whose byte code of the runner is known to be current.
    compiled: Mutex<BTreeSet<String>>,
    /// Whether no package may be built from its source.
    only_wheels: AtomicBool,
}

impl Environments {
    /// Finds uv (or installs one from PyPI), finds the Pythons of the machine, removes what killed
    /// builds have left.
    ///
    /// # Errors
    /// There is no usable uv, the preferred Python is not there, or the directories cannot be made.
    pub async fn open(options: Options) -> Result<Self, EnvError> {
        let preferred = preferred_python(options.python.as_deref())?;
        let layout = Layout::create(&options.root)?;
        let sweep = {
            let layout = layout.clone();
            tokio::task::spawn_blocking(move || layout.remove_leftovers())
        };
        if let Err(error) = sweep.await {
            tracing::warn!(%error, "could not look for unfinished environments");
        }
        let uv = Uv::find(options.uv.as_deref(), preferred, &layout).await?;
        let pythons = Interpreters::look(&uv, &layout, preferred, options.install_pythons).await?;
        let wanted = preferred.unwrap_or(PythonVersion::Any);
        match pythons.with(&uv, &layout, wanted).await {
            Ok(found) if preferred.is_some() => found.find(wanted).map(drop)?,
            Ok(_) => {}
            // Calls that need it try again, and say what is wrong to whom it concerns.
            Err(error) => tracing::warn!(%error, hint = error.hint(), "there is no python"),
        }
        tracing::debug!(?uv, pythons = ?pythons.known().versions(), "environments can be made");
        Ok(Self(Arc::new(Inner {
            uv,
            pythons,
            layout,
            runner_dir: options.runner_dir,
            flights: Flights::default(),
            compiled: Mutex::default(),
            only_wheels: AtomicBool::default(),
        })))
    }

    /// Whether packages are installed from wheels only, from now on: building one from its source runs
    /// code of whoever made it, on this machine and outside of any isolation. An environment that is there
    /// already stays: what has run has run.
    pub fn take_only_wheels(&self, on: bool) {
        self.0.only_wheels.store(on, Ordering::Relaxed);
    }

    /// The Python versions environments can be made for, oldest first, as `3.11`.
    #[must_use]
    pub fn pythons(&self) -> Vec<String> {
        self.0.pythons.known().versions()
    }

    /// Resolves an image for this machine.
    ///
    /// # Errors
    /// The image cannot be had on a native worker, or its packages cannot be resolved.
    pub async fn lock(&self, spec: &ImageSpec, progress: &Progress) -> Result<EnvLock, EnvError> {
        let platform = Platform::current().ok_or(EnvError::UnknownPlatform)?;
        self.lock_for(spec, Target { platform, macos: None }, progress).await
    }

    /// Resolves an image for machines of any kind. On those of another kind than this one only
    /// wheels are used, so that a package without one is told here and not when it is installed.
    ///
    /// # Errors
    /// As for [`Self::lock`].
    pub async fn lock_for(
        &self,
        spec: &ImageSpec,
        target: Target,
        progress: &Progress,
    ) -> Result<EnvLock, EnvError> {
        let inner = &*self.0;
        let is_here = Platform::current() == Some(target.platform);
        let pythons = match spec.python_version.parse() {
            Ok(wanted) if is_here => inner.pythons.with(&inner.uv, &inner.layout, wanted).await?,
            _ => inner.pythons.known(),
        };
        let wheels = inner.only_wheels.load(Ordering::Relaxed);
        lock::resolve(&inner.uv, &pythons, spec, target, (is_here, wheels), progress).await
    }

    /// The same for a machine that is not this one, whatever this one is: the Python that the image
    /// asks for need not be here.
    ///
    /// # Errors
    /// As for [`Self::lock_for`].
    pub async fn lock_elsewhere(
        &self,
        spec: &ImageSpec,
        target: Target,
        progress: &Progress,
    ) -> Result<EnvLock, EnvError> {
        let (uv, pythons) = (&self.0.uv, self.0.pythons.known());
        lock::resolve(uv, &pythons, spec, target, (false, true), progress).await
    }

    /// Resolves an image for root filesystems of this machine's kind that have a Python as the image
    /// names it, whether this machine has it or not: all of it are wheels.
    ///
    /// # Errors
    /// As for [`Self::lock_for`].
    pub async fn lock_for_roots(
        &self,
        spec: &ImageSpec,
        progress: &Progress,
    ) -> Result<EnvLock, EnvError> {
        let (inner, platform) = (&*self.0, Platform::current().ok_or(EnvError::UnknownPlatform)?);
        lock::resolve_for_roots(&inner.uv, &inner.pythons.known(), spec, platform, progress).await
    }

    /// The packages of a lock that was resolved for root filesystems, made if they are not there yet,
    /// as [`Self::ensure`] makes environments. They are at [`Environment::python`], for a Python that is
    /// somewhere else.
    ///
    /// # Errors
    /// It is for another platform, or uv could not install them.
    pub async fn packages(
        &self,
        lock: &EnvLock,
        progress: &Progress,
    ) -> Result<Environment, EnvError> {
        self.ready(lock, self.0.layout.packages(&lock.hash()), progress).await
    }

    /// `true` if the Python of a lock is on this machine, or would be installed.
    #[must_use]
    pub fn has_python(&self, lock: &EnvLock) -> bool {
        minor_of(lock).is_some_and(|wanted| self.0.pythons.may_have(wanted))
    }

    /// The environment of a lock, built if it is not there yet. Everyone who asks for the same one
    /// at the same time shares one build and its end; dropping the last of their futures stops it.
    ///
    /// # Errors
    /// It is for another machine or Python, or uv could not build it. A later call tries again.
    pub async fn ensure(
        &self,
        lock: &EnvLock,
        progress: &Progress,
    ) -> Result<Environment, EnvError> {
        self.ready(lock, self.0.layout.environment(&lock.hash()), progress).await
    }

    async fn ready(
        &self,
        lock: &EnvLock,
        environment: Environment,
        progress: &Progress,
    ) -> Result<Environment, EnvError> {
        // It may be removed between its completion and the lease, but hardly again and again.
        for _ in 0..ATTEMPTS {
            if layout::is_ready(&environment) {
                let lock_file = self.0.layout.lock_file(&environment.hash);
                let lease = Lease::new(hold::acquire_share(&lock_file).await?);
                if layout::is_ready(&environment) {
                    layout::touch(&environment);
                    if !layout::is_packages(&environment) {
                        self.compile_runner(lock, &environment);
                    }
                    return Ok(Environment { lease, ..environment });
                }
            }
            self.build(lock, &environment, progress).await?;
        }
        let gone = std::io::Error::other("it was removed as soon as it was built");
        Err(EnvError::files("use", &environment.dir, gone))
    }

    async fn build(
        &self,
        lock: &EnvLock,
        environment: &Environment,
        progress: &Progress,
    ) -> Result<(), EnvError> {
        let inner = &*self.0;
        if Platform::current() != Some(lock.platform) {
            let here = Platform::current();
            return Err(EnvError::WrongPlatform { wanted: lock.platform, here });
        }
        let python = if layout::is_packages(environment) {
            let (wanted, known) = (minor_of(lock), inner.pythons.known());
            let compiler = wanted.and_then(|wanted| Some(known.find(wanted).ok()?.1.to_owned()));
            Interpreter::Elsewhere { compiler }
        } else {
            Interpreter::Base(inner.python_of(lock).await?)
        };
        let build = Build {
            uv: &inner.uv,
            layout: &inner.layout,
            python,
            runner_dir: &inner.runner_dir,
            lock,
            target: environment,
            only_wheels: inner.only_wheels.load(Ordering::Relaxed),
        };
        let work = |to_all: Progress| async move { build.run(&to_all).await };
        inner.flights.once(&environment.hash, progress, work).await?;
        inner.note_compiled(&lock.python);
        Ok(())
    }

    /// Makes environments and uv's cache take no more than `budget` bytes, as far as they are not
    /// in use.
    ///
    /// # Errors
    /// One could not be removed.
    pub async fn collect(&self, budget: u64) -> Result<Collected, EnvError> {
        let mut collected = Collected::default();
        if self.disk_bytes().await <= budget {
            return Ok(collected);
        }
        // It waits for builds that use the cache.
        let ended = process::run(
            self.0.uv.command(&["cache", "clean"]),
            Input::Nothing,
            &mut |line: &str| tracing::debug!(line = line.trim_end(), "uv cache clean"),
        )
        .await?;
        collected.cache = ended.success;
        let layout = self.0.layout.clone();
        let removing =
            tokio::task::spawn_blocking(move || collect::remove_oldest(&layout, budget)).await;
        collected.environments = removing.unwrap_or_else(|error| {
            let source = std::io::Error::other(error);
            Err(EnvError::files("clean", &self.0.layout.root, source))
        })?;
        Ok(collected)
    }

    /// Bytes that environments and uv's cache take on disk.
    pub async fn disk_bytes(&self) -> u64 {
        let layout = self.0.layout.clone();
        let count = move || collect::disk_bytes(&[&layout.envs, &layout.uv_cache]);
        tokio::task::spawn_blocking(count).await.unwrap_or(0)
    }

    /// The hashes of the environments that are ready, in order.
    #[must_use]
    pub fn cached(&self) -> Vec<String> {
        self.0.layout.ready()
    }

    /// Compiles the runner in the background if an environment is older than this process: the
    /// runner may be a newer one than it was built with.
    fn compile_runner(&self, lock: &EnvLock, environment: &Environment) {
        if self.0.note_compiled(&lock.python) {
            let (inner, python) = (Arc::clone(&self.0), environment.python.clone());
            let work = async move { runner::compile(&python, &inner.runner_dir).await };
            drop(metal9_tasks::spawn_infallible("compile the runner", work));
        }
    }
}

impl Inner {
    /// The base interpreter of a lock.
    async fn python_of(&self, lock: &EnvLock) -> Result<PathBuf, EnvError> {
        let missing = || EnvError::PythonMissing {
            wanted: lock.python.clone(),
            available: self.pythons.known().versions(),
        };
        let wanted = minor_of(lock).ok_or_else(missing)?;
        let pythons = self.pythons.with(&self.uv, &self.layout, wanted).await?;
        pythons.find(wanted).map(|(_, path)| path.to_owned())
    }

    /// `true` the first time a version is named.
    fn note_compiled(&self, python: &str) -> bool {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        !compiled.contains(python) && compiled.insert(python.to_owned())
    }
}

impl fmt::Debug for Environments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environments")
            .field("uv", &self.0.uv)
            .field("pythons", &self.0.pythons)
            .field("layout", &self.0.layout)
            .finish_non_exhaustive()
    }
}

/// The version that a lock is for.
fn minor_of(lock: &EnvLock) -> Option<PythonVersion> {
    lock.python.parse().ok().filter(|version| matches!(version, PythonVersion::Minor(_)))
}

fn preferred_python(text: Option<&str>) -> Result<Option<PythonVersion>, EnvError> {
    text.map(str::parse).transpose().map_err(|_: String| EnvError::PythonMissing {
        wanted: text.unwrap_or_default().to_owned(),
        available: Vec::new(),
    })
}
