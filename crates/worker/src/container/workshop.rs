//! What a container is made of: environments, code, processes.

use std::sync::Arc;

use metal9_env::{EnvError, Environment, Environments, Progress};
use metal9_types::{EnvLock, ImageSpec, MacosVersion, ObjectId, Platform, Target};

use crate::code::CodeCache;
use crate::errors::chain;
use crate::event::NotBuilt;
use crate::roots::{Means, RootError, Roots, Wanted};
use crate::runner::{Base, LaunchError, Launcher, Runner, Shape};
use crate::spares::Kind;
use crate::volumes::blobs::Blobs;
use crate::volumes::own::OwnMount;

/// The real thing.
#[derive(Debug)]
pub(crate) struct Makings {
    pub(crate) environments: Environments,
    pub(crate) code: CodeCache,
    pub(crate) launcher: Launcher,
    /// Root filesystems of containers; nothing where there are none.
    pub(crate) roots: Option<Roots>,
    /// Contents of files of volumes that are on another machine.
    pub(crate) blobs: Arc<Blobs>,
    /// Whether jobs work on copies of volumes wherever those are.
    pub(crate) copy_volumes: bool,
    /// The volumes' file system, where the worker mounts it itself.
    pub(crate) own_mount: Arc<OwnMount>,
}

/// The real thing, or in tests runners that are handed in.
#[derive(Debug)]
pub(crate) enum Workshop {
    Real(Box<Makings>),
    #[cfg(test)]
    Scripted(tokio::sync::Mutex<tokio::sync::mpsc::Receiver<Runner>>),
}

impl Workshop {
    /// Where things are made; nothing if runners are handed in.
    pub(crate) fn makings(&self) -> Option<&Makings> {
        match self {
            Self::Real(makings) => Some(makings),
            #[cfg(test)]
            Self::Scripted(_) => None,
        }
    }

    /// Whether a JuiceFS file system can be mounted for jobs.
    pub(crate) fn mounts_juicefs(&self) -> bool {
        self.makings().is_some_and(|makings| makings.own_mount.is_possible())
    }

    /// Hashes of the environments and ids of the objects that are there.
    pub(crate) fn cached(&self) -> (Vec<String>, Vec<ObjectId>) {
        match self {
            Self::Real(makings) => (makings.environments.cached(), makings.code.cached()),
            #[cfg(test)]
            Self::Scripted(_) => (Vec::new(), Vec::new()),
        }
    }

    /// What every stub's runner is started for, unless it asks for something else; nothing if that
    /// depends on the stub.
    pub(crate) fn usual(&self) -> Option<Shape> {
        self.makings()?.launcher.guard.usual()
    }

    /// A runner that belongs to no container yet; nothing if it could not be made.
    pub(crate) async fn spare(&self, kind: &Kind) -> Option<Runner> {
        let made = match self {
            Self::Real(makings) => {
                let base = Base::from(&kind.environment);
                makings.launcher.start(base, None, kind.shape, &[]).await
            }
            #[cfg(test)]
            Self::Scripted(_) => return None,
        };
        let warn = |error: &LaunchError| tracing::warn!(error = chain(error), "no spare runner");
        made.inspect_err(warn).ok()
    }

    /// Resolves an image and builds its environment. The error is text for a person.
    pub(crate) async fn build(
        &self,
        image: &ImageSpec,
        macos: Option<MacosVersion>,
        progress: &Progress,
    ) -> Result<(EnvLock, Environment), NotBuilt> {
        let environments = self.environments()?;
        // Of no meaning on other machines.
        let macos = macos.filter(|_| cfg!(target_os = "macos"));
        let lock = match (Platform::current(), macos) {
            (Some(platform), Some(macos)) => {
                let target = Target { platform, macos: Some(macos) };
                environments.lock_for(image, target, progress).await
            }
            _ => environments.lock(image, progress).await,
        };
        let lock = lock.map_err(|error| not_built(&error))?;
        let environment = environments.ensure(&lock, progress).await;
        Ok((lock, environment.map_err(|error| not_built(&error))?))
    }

    /// Makes the root filesystem of an image, and the packages that are added to it.
    pub(crate) async fn build_root(
        &self,
        image: &ImageSpec,
        means: &Means,
        progress: &Progress,
    ) -> Result<EnvLock, NotBuilt> {
        let none = || NotBuilt { text: RootError::NoContainers.to_string(), is_final: true };
        let makings = self.makings().ok_or_else(none)?;
        let roots = makings.roots.as_ref().ok_or_else(none)?;
        let Makings { environments, code, launcher, .. } = makings;
        let wanted = Wanted { image, means, code, launcher };
        let lock = Box::pin(roots.resolve(&wanted, environments, progress)).await;
        lock.map_err(|error| NotBuilt { text: chain(&error), is_final: false })
    }

    /// Resolves an image for machines of some kind, in silence. The error's text is one line.
    pub(crate) async fn resolve(
        &self,
        image: &ImageSpec,
        target: Target,
    ) -> Result<EnvLock, NotBuilt> {
        let silent: Progress = Arc::new(|_| ());
        let locked = self.environments()?.lock_for(image, target, &silent).await;
        locked.map_err(|error| NotBuilt { text: error.reason(), is_final: error.is_final() })
    }

    fn environments(&self) -> Result<&Environments, NotBuilt> {
        match self {
            Self::Real(makings) => Ok(&makings.environments),
            #[cfg(test)]
            Self::Scripted(_) => {
                Err(NotBuilt { text: "nothing can be built here".to_owned(), is_final: false })
            }
        }
    }
}

fn not_built(error: &EnvError) -> NotBuilt {
    NotBuilt { text: super::failure::environment(error).message, is_final: error.is_final() }
}
