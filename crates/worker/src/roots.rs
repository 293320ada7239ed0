//! Root filesystems of containers: pulled from registries, or built with buildah.

mod access;
mod base;
mod plan;
mod probe;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use metal9_env::{EnvError, Environments, Progress};
use metal9_rootfs::{
    BuildOptions, BuildSpec, Builder, Image, Images, Lease, Progress as Pull, RootfsError, Settings,
};
use metal9_sandbox::Network;
use metal9_types::{EnvLock, ImageSpec, RootLock, RootSource, names};
use serde::{Deserialize, Serialize};

use base::Base;

use crate::code::{Code, CodeCache, CodeError};
use crate::options::ImageSettings;
use crate::runner::{LaunchError, Launcher, OwnNetwork};

/// Bytes that an image may have, and one of its layers: more than the largest CUDA images have.
const MAX_IMAGE_BYTES: u64 = 64 << 30;
const MAX_LAYER_BYTES: u64 = 32 << 30;
/// Files and directories that an image may have.
const MAX_ENTRIES: u64 = 5_000_000;

/// Room for images if nobody says otherwise, in MiB.
const CACHE_MIB: u64 = 40 * 1024;
/// How long a build may take if nobody says otherwise.
const BUILD_SECONDS: u64 = 1800;
/// What a build begins with if neither the client nor the settings say.
const DEFAULT_BASE: &str = "python:{version}-slim";

/// Where programs are in images that do not say.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why there is no root filesystem.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RootError {
    #[error(
        "this worker runs jobs on the machine itself, and the image is to be the root filesystem of a \
         container\nhint: start a worker with the setting runtime = \"runc\" or \"runsc\""
    )]
    NoContainers,
    #[error(
        "the image has to be built, and this worker has no buildah, or neither runc nor crun for it\n\
         hint: install the packages `buildah` and `runc` on the worker's machine and start the worker \
         again"
    )]
    NoBuilder,
    // With their causes, after which comes what to do.
    #[error("{}", told(.0, .0.hint()))]
    Image(RootfsError),
    #[error("{}", told(.0, .0.hint()))]
    Packages(EnvError),
    #[error(
        "there is no image `oci:{name}`: {why}\nhint: put an OCI image layout of this name into \
         `images.layouts_dir` of every worker that makes containers, or name a registry's image"
    )]
    Layout { name: String, why: String },
    #[error(
        "the image `{name}` is not what it was: its digest was {pinned} and is {found} now\n\
         hint: give the new one a name of its own, or put the old one back"
    )]
    Changed { name: String, pinned: String, found: String },
    #[error("the build context could not be had")]
    Context(#[from] CodeError),
    #[error("{0}")]
    Credentials(String),
    #[error("the image's `{python}` does not run in a container")]
    Start { python: String, source: LaunchError },
    #[error("could not make the network of the build")]
    Network(#[source] std::io::Error),
    #[error("{0}")]
    Python(String),
    #[error("could not work with `{}`", path.display())]
    Files { path: PathBuf, source: std::io::Error },
}

/// An error with its causes and what to do.
fn told(error: &(dyn std::error::Error + 'static), hint: Option<String>) -> String {
    let hint = hint.map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
    format!("{}{hint}", crate::errors::chain(error))
}

impl From<RootfsError> for RootError {
    fn from(error: RootfsError) -> Self {
        Self::Image(error)
    }
}

impl From<EnvError> for RootError {
    fn from(error: EnvError) -> Self {
        Self::Packages(error)
    }
}

/// What a workspace's secrets have for an image: names and values.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Means {
    /// How the registry of the base image knows the workspace.
    pub(crate) credentials: Vec<(String, String)>,
    /// The environment of build steps.
    pub(crate) secrets: Vec<(String, String)>,
}

/// A root filesystem that is ready for a container.
#[derive(Clone, Debug)]
pub(crate) struct Root {
    /// Directories, the top one first.
    pub(crate) layers: Vec<PathBuf>,
    /// The environment of its programs, with a `PATH`.
    pub(crate) env: Vec<(String, String)>,
    /// Its Python, as `python3.11`.
    pub(crate) python: String,
    /// Keeps the layers.
    pub(crate) lease: Lease,
}

impl Root {
    fn new(image: Image, spec: &ImageSpec) -> Self {
        let Image { layers, config, lease, .. } = image;
        let mut env = config.env;
        if !env.iter().any(|(name, _)| name == "PATH") {
            env.push(("PATH".to_owned(), PATH.to_owned()));
        }
        Self { layers, env, python: spec.python_program(), lease }
    }
}

/// What an image was made to here.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    digest: String,
    base: String,
}

/// The root filesystems of a worker.
#[derive(Debug)]
pub(crate) struct Roots {
    images: Images,
    builder: Option<Builder>,
    default_base: String,
    layouts: Option<PathBuf>,
    build_within: Duration,
    /// Of each image of a stub, which one it was made to.
    notes: PathBuf,
}

impl Roots {
    /// Opens the cache. `shift` is the user of the machine that is root in containers; `shim` the program
    /// that stands before the runtime of builds.
    pub(crate) async fn open(
        wish: &ImageSettings,
        directory: &Path,
        shift: u32,
        shim: &Path,
    ) -> Result<Self, RootError> {
        let settings = Settings {
            budget_bytes: wish.cache_mib.unwrap_or(CACHE_MIB).saturating_mul(1 << 20),
            max_image_bytes: MAX_IMAGE_BYTES,
            max_layer_bytes: MAX_LAYER_BYTES,
            max_entries: MAX_ENTRIES,
            uid_shift: shift,
            insecure_registries: names(wish.insecure_registries.as_deref().unwrap_or_default())
                .map(str::to_owned)
                .collect(),
        };
        // Files belong to somebody else where another user is root in containers.
        let directory = directory.join(shift.to_string());
        let images = Images::open(&directory, settings).await?;
        let notes = directory.join("of-stubs");
        fs::create_dir_all(&notes).map_err(files(&notes))?;
        Ok(Self {
            images,
            builder: Builder::find(shim),
            default_base: wish.base.clone().unwrap_or_else(|| DEFAULT_BASE.to_owned()),
            layouts: wish.layouts_dir.clone(),
            build_within: Duration::from_secs(wish.build_timeout_seconds.unwrap_or(BUILD_SECONDS)),
            notes,
        })
    }

    /// Which root filesystems can be had.
    pub(crate) fn source(&self) -> RootSource {
        if self.builder.is_some() { RootSource::Built } else { RootSource::Pulled }
    }

    /// The root filesystem of an image, as it is here already or as its lock has it.
    pub(crate) async fn ensure(
        &self,
        wanted: &Wanted<'_>,
        lock: Option<&RootLock>,
        progress: &Progress,
    ) -> Result<Root, RootError> {
        let path = self.note(wanted.image);
        if let Some(note) = fs::read(&path).ok().and_then(|text| read_note(&text, lock))
            && let Some(image) = self.images.get(&note.digest)
        {
            return Ok(Root::new(image, wanted.image));
        }
        Ok(self.make(wanted, lock, progress).await?.0)
    }

    /// Makes the root filesystem of an image, however often it was made before, and finds out what
    /// its SDK has to be.
    pub(crate) async fn resolve(
        &self,
        wanted: &Wanted<'_>,
        environments: &Environments,
        progress: &Progress,
    ) -> Result<EnvLock, RootError> {
        let (root, base) = self.make(wanted, None, progress).await?;
        let python = probe::python(wanted.launcher, &root).await?;
        progress(&format!("the image has python {python}\n"));
        let sdk = wanted.image.sdk_alone(&python);
        let lock = environments.lock_for_roots(&sdk, progress).await?;
        environments.packages(&lock, progress).await?;
        Ok(EnvLock { root: Some(RootLock { base }), ..lock })
    }

    async fn make(
        &self,
        wanted: &Wanted<'_>,
        lock: Option<&RootLock>,
        progress: &Progress,
    ) -> Result<(Root, String), RootError> {
        let image = wanted.image;
        let credentials = access::credentials(&wanted.means.credentials);
        let credentials = credentials.map_err(RootError::Credentials)?;
        let pinned = lock.map(|lock| lock.base.as_str()).filter(|base| !base.is_empty());
        let base = match plan::base(image, &self.default_base) {
            None => None,
            Some(name) => {
                let layouts = self.layouts.as_deref();
                let (images, credentials) = (&self.images, credentials.as_ref());
                Some(Base::find(images, layouts, &name, pinned, credentials, progress).await?)
            }
        };
        let is_built = image.root() == RootSource::Built;
        let made = match &base {
            Some(Base::Pulled { name, .. }) if !is_built => {
                let mut tell = Pulling::new(name, progress);
                self.images.pull(name, credentials.as_ref(), |step| tell.hear(&step)).await?
            }
            Some(Base::Layout { image, .. }) if !is_built => image.clone(),
            _ => {
                let builder = self.builder.as_ref().ok_or(RootError::NoBuilder)?;
                let (context, own_network) = (wanted.context().await?, wanted.network().await?);
                let (base, layout) = match &base {
                    None => (None, None),
                    Some(Base::Pulled { name, .. }) => (Some(name.clone()), None),
                    Some(Base::Layout { path, .. }) => (None, Some(path.clone())),
                };
                let spec = BuildSpec {
                    base,
                    layout,
                    context: context.as_ref().map(|code| code.path().to_owned()),
                    ..plan::build(image, &wanted.means.secrets)
                };
                let options = BuildOptions {
                    timeout: self.build_within,
                    credentials,
                    network_namespace: own_network.as_ref().map(OwnNetwork::path),
                };
                let log = |line: &str| progress(&format!("{line}\n"));
                let built = builder.build(&self.images, &spec, &options, log).await;
                if let Some(network) = own_network {
                    network.remove().await;
                }
                built?
            }
        };
        let base = base.as_ref().map(Base::digest).unwrap_or_default().to_owned();
        let note = Note { digest: made.digest.clone(), base };
        self.write_note(image, &note)?;
        Ok((Root::new(made, image), note.base))
    }

    fn note(&self, image: &ImageSpec) -> PathBuf {
        self.notes.join(format!("{}.json", image.id()))
    }

    fn write_note(&self, image: &ImageSpec, note: &Note) -> Result<(), RootError> {
        let path = self.note(image);
        let text = serde_json::to_vec(note).unwrap_or_default();
        // Whoever reads it half written takes it for none, and makes the image anew.
        let fresh = path.with_extension("new");
        let write = || {
            fs::write(&fresh, text)?;
            fs::rename(&fresh, &path)
        };
        write().map_err(files(&path))
    }

    /// Bytes that the cache takes.
    pub(crate) async fn disk_bytes(&self) -> u64 {
        self.images.disk_bytes().await.unwrap_or(0)
    }

    /// Keeps the cache within its budget, or `most` bytes where that is less. Returns what was removed.
    pub(crate) async fn collect(&self, most: u64) -> Result<metal9_rootfs::Collected, RootfsError> {
        let collected = self.images.collect(most).await?;
        for entry in fs::read_dir(&self.notes).into_iter().flatten().flatten() {
            let note = fs::read(entry.path()).ok().and_then(|text| read_note(&text, None));
            if note.is_none_or(|note| self.images.get(&note.digest).is_none()) {
                // The image is made anew when it is wanted.
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(collected)
    }
}

/// A note, if it is of what a lock has.
fn read_note(text: &[u8], lock: Option<&RootLock>) -> Option<Note> {
    let note: Note = serde_json::from_slice(text).ok()?;
    lock.is_none_or(|lock| lock.base.is_empty() || lock.base == note.base).then_some(note)
}

fn files(path: &Path) -> impl FnOnce(std::io::Error) -> RootError + '_ {
    move |source| RootError::Files { path: path.to_owned(), source }
}

/// An image, and what making it takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) image: &'a ImageSpec,
    pub(crate) means: &'a Means,
    pub(crate) code: &'a CodeCache,
    pub(crate) launcher: &'a Launcher,
}

impl Wanted<'_> {
    /// The directory that a Dockerfile copies from; nothing for an empty one.
    async fn context(&self) -> Result<Option<Code>, RootError> {
        let Ok(object) = self.image.build_context.parse() else { return Ok(None) };
        Ok(Some(self.code.ensure(object).await?))
    }

    /// A network for the build's steps, as containers have it: not the machine's own.
    async fn network(&self) -> Result<Option<OwnNetwork>, RootError> {
        let name = self.launcher.name("build");
        let made = self.launcher.guard.own_network(&name, Network::Full).await;
        made.map_err(RootError::Network)
    }
}

/// Tells how a pull goes, a line for each tenth.
struct Pulling<'a> {
    name: &'a str,
    progress: &'a Progress,
    tenths: u64,
}

impl<'a> Pulling<'a> {
    fn new(name: &'a str, progress: &'a Progress) -> Self {
        Self { name, progress, tenths: 0 }
    }

    fn hear(&mut self, step: &Pull) {
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        let line = match step {
            Pull::Resolved { missing: 0, .. } => return,
            Pull::Resolved { missing, bytes, .. } => {
                format!("pulling `{}`: {missing} layers, {} MiB", self.name, mib(*bytes))
            }
            Pull::Fetched { bytes, of } => {
                let tenths = bytes.saturating_mul(10) / (*of).max(1);
                if tenths <= self.tenths {
                    return;
                }
                self.tenths = tenths;
                format!("fetched {} of {} MiB", mib(*bytes), mib(*of))
            }
            Pull::Warning(text) => format!("warning: {text}"),
            _ => return,
        };
        (self.progress)(&format!("{line}\n"));
    }
}
