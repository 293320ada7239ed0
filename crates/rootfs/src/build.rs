//! Makes new images with buildah.

mod cgroups;
mod configuration;
mod dockerfile;
mod guard;
mod key;
mod root;
mod run;
mod spec;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use metal9_env::Lines;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::process::Command;

use self::configuration::Configuration;
pub use self::guard::{RUNTIME_COMMAND, runtime_main};
use self::root::{How, View};
use self::run::Ended;
pub use self::spec::{BuildOptions, BuildSpec, Step};
use crate::digest::Digest;
use crate::images::{State, blocking};
use crate::layout;
use crate::{Image, Images, RootfsError, pull};

/// Where programs of root are, beside what `PATH` says.
const DIRECTORIES: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Which programs may run steps. Buildah could without one, with too little between them and the machine.
const RUNTIMES: [&str; 2] = ["runc", "crun"];
/// What the root is made with, beside the shell.
const MAKE_ROOT: [&str; 3] = ["mount", "mountpoint", "pivot_root"];
/// Directories of a build: what buildah reads, what it works in, what it copies from where nothing is
/// said, what it works in when it hands the image out, the image, and where its root is made.
const CONFIGURATION: &str = "configuration";
const WORK: &str = "work";
const CONTEXT: &str = "context";
const HAND_OUT: &str = "hand-out";
const OUT: &str = "out";
const ROOT: &str = "root";
/// Files in them.
const DOCKERFILE: &str = "Dockerfile";
const IMAGE_ID: &str = "image-id";
const IMAGE: &str = "image";
/// What buildah hands on from its own environment to find the network.
const HANDED_ON: [&str; 6] =
    ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"];

/// Buildah, as it is installed here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Builder {
    buildah: PathBuf,
    /// Puts buildah into namespaces of its own.
    unshare: PathBuf,
    /// Lets it die with us.
    setpriv: PathBuf,
    runtime: PathBuf,
    /// A program of ours whose command [`RUNTIME_COMMAND`] is [`runtime_main`].
    guard: PathBuf,
}

/// Which image a build made.
#[derive(Debug, Serialize, Deserialize)]
struct Built {
    digest: String,
}

impl Builder {
    /// Buildah, if it and all that it is run with is installed; images cannot be built without. `guard`
    /// is a program whose command [`RUNTIME_COMMAND`] is [`runtime_main`].
    #[must_use]
    pub fn find(guard: &Path) -> Option<Self> {
        let paths = [std::env::var("PATH").unwrap_or_default(), DIRECTORIES.to_owned()].join(":");
        let find = |name: &str| which::which_in(name, Some(&paths), "/").ok();
        MAKE_ROOT.iter().try_for_each(|name| find(name).map(drop))?;
        Some(Self {
            buildah: find("buildah")?,
            unshare: find("unshare")?,
            setpriv: find("setpriv")?,
            runtime: RUNTIMES.iter().find_map(|name| find(name))?,
            guard: guard.to_owned(),
        })
    }

    /// Builds an image, unless the same was built before and is still here. `log` gets what is
    /// written, line by line. Dropping the future ends the build and all its processes.
    ///
    /// # Errors
    /// When the specification makes no sense, a step fails, the image has no Python that it should
    /// have, or the time is over.
    pub async fn build(
        &self,
        images: &Images,
        spec: &BuildSpec,
        options: &BuildOptions,
        mut log: impl FnMut(&str) + Send,
    ) -> Result<Image, RootfsError> {
        spec.check()?;
        let state = &images.state;
        let (base, digest) = self.base(images, spec, options).await?;
        let (dockerfile, key) = {
            let spec = spec.clone();
            blocking(move || {
                let is_dir = |(host, _): &(PathBuf, PathBuf)| {
                    let facts = fs::metadata(host).map_err(RootfsError::files("read", host))?;
                    Ok(facts.is_dir())
                };
                let directories = spec.files.iter().map(is_dir).collect::<Result<Vec<_>, _>>()?;
                let dockerfile = dockerfile::render(&spec, &base, &directories);
                let key = key::key(&spec, &dockerfile, &digest)?;
                Ok((dockerfile, key))
            })
            .await?
        };
        let note = state.layout.builds.join(format!("{}.json", key.hex()));
        let known = || {
            let built: Built = layout::read(&note)?;
            state.cached(&Digest::parse(&built.digest).ok()?)
        };
        if let Some(image) = known() {
            return Ok(image);
        }
        let _alone = match state.building.try_lock() {
            Ok(alone) => alone,
            Err(_) => {
                log("waiting for another build");
                state.building.lock().await
            }
        };
        // Perhaps it was the same.
        if let Some(image) = known() {
            return Ok(image);
        }
        let place = self.place(state, spec, options, &dockerfile).await?;
        let cgroups = Cgroups(cgroup(&state.layout.storage));
        self.attempt(state, spec, options, place.path(), &mut log).await?;
        drop(cgroups);
        let image = images.load(&place.path().join(OUT).join(IMAGE)).await?;
        state.layout.write(&note, &Built { digest: image.digest.clone() })?;
        Ok(image)
    }

    /// The base image as buildah is to know it, and its digest: one that changed makes another build.
    async fn base(
        &self,
        images: &Images,
        spec: &BuildSpec,
        options: &BuildOptions,
    ) -> Result<(String, String), RootfsError> {
        if let Some(path) = &spec.layout {
            // What is there is looked at before buildah reads it.
            let digest = images.load(path).await?.digest;
            return Ok((format!("{}:{}", transport(path), path.display()), digest));
        }
        let Some(base) = spec.base.as_deref().filter(|base| *base != "scratch") else {
            return Ok(("scratch".to_owned(), String::new()));
        };
        let digest = images.resolve(base, options.credentials.as_ref()).await?;
        let parsed = pull::parse(base)?;
        Ok((format!("{}/{}@{digest}", parsed.registry(), parsed.repository()), digest))
    }

    /// A directory with all that buildah reads.
    async fn place(
        &self,
        state: &Arc<State>,
        spec: &BuildSpec,
        options: &BuildOptions,
        dockerfile: &str,
    ) -> Result<TempDir, RootfsError> {
        let registry = match &spec.base {
            Some(base) if base != "scratch" => Some(pull::parse(base)?.registry().to_owned()),
            _ => None,
        };
        let (state, spec, options) = (Arc::clone(state), spec.clone(), options.clone());
        let (runtime, dockerfile) = (self.runtime.clone(), dockerfile.to_owned());
        blocking(move || {
            let place = state.layout.aside()?;
            let path = place.path();
            let configuration = Configuration {
                runtime: &runtime,
                insecure_registries: &state.settings.insecure_registries,
                layout: spec.layout.as_deref(),
                credentials: registry.as_deref().zip(options.credentials.as_ref()),
            };
            let write = || {
                for name in [CONFIGURATION, WORK, CONTEXT, HAND_OUT, OUT, ROOT] {
                    fs::create_dir(path.join(name))?;
                }
                fs::create_dir_all(storage(&state, &spec))?;
                configuration.write(&path.join(CONFIGURATION))?;
                fs::write(path.join(CONFIGURATION).join(DOCKERFILE), dockerfile)?;
                for (number, (host, _)) in spec.files.iter().enumerate() {
                    if !host.is_dir() {
                        let own = path.join(dockerfile::context_name(number));
                        fs::create_dir(&own)?;
                        fs::copy(host, own.join(dockerfile::FILE))?;
                    }
                }
                Ok(())
            };
            let written: std::io::Result<()> = write();
            written.map_err(RootfsError::files("prepare a build in", path))?;
            Ok(place)
        })
        .await
    }

    async fn attempt(
        &self,
        state: &State,
        spec: &BuildSpec,
        options: &BuildOptions,
        place: &Path,
        log: &mut (dyn FnMut(&str) + Send),
    ) -> Result<(), RootfsError> {
        let begun = tokio::time::Instant::now();
        let mut view = View::default();
        view.add(How::Write, &place.join(WORK), root::WORK);
        let context = spec.context.clone().unwrap_or_else(|| place.join(CONTEXT));
        view.add(How::Read, &context, root::CONTEXT);
        spec.layout.iter().chain(&options.network_namespace).for_each(|path| view.add_same(path));
        let mut contexts = Vec::new();
        for (number, (host, _)) in spec.files.iter().enumerate() {
            let name = dockerfile::context_name(number);
            let from = if host.is_dir() { host.clone() } else { place.join(&name) };
            let inside = format!("{}/{number}", root::FILES);
            view.add(How::Read, &from, &inside);
            contexts.push(format!("{name}={inside}"));
        }
        let mut command = self.buildah(state, spec, place, view);
        let image_id = format!("{}/{IMAGE_ID}", root::WORK);
        command.args(["build", "--layers", "--format", "oci", "--iidfile", &image_id]);
        command.args(["--authfile", &configuration::path(configuration::AUTH)]);
        command.args(["--signature-policy", &configuration::path(configuration::POLICY)]);
        command.args(["--file", &configuration::path(DOCKERFILE)]);
        command.args(["--cgroup-parent", root::STEPS, "--isolation", "oci"]);
        command.arg("--runtime").arg(configuration::runtime(&self.runtime));
        command.arg("--network").arg(match (spec.network, &options.network_namespace) {
            (false, _) => "none".to_owned(),
            (true, None) => "host".to_owned(),
            (true, Some(path)) => format!("ns:{}", path.display()),
        });
        for (number, (name, value)) in spec.secrets.iter().enumerate() {
            // Under a name that means nothing to buildah itself.
            let variable = format!("METAL9_SECRET_{number}");
            command.args(["--secret", &format!("id={name},env={variable}")]);
            command.env(variable, value);
        }
        for context in &contexts {
            command.args(["--build-context", context]);
        }
        command.arg(root::CONTEXT);
        self.run(command, spec, options, begun, log).await?;

        let id = image_id_in(&place.join(WORK).join(IMAGE_ID))?;
        // With nothing but the storage of what a step could have written to.
        let mut view = View::default();
        view.add(How::Write, &place.join(HAND_OUT), root::WORK);
        view.add(How::Write, &place.join(OUT), root::OUT);
        let mut command = self.buildah(state, spec, place, view);
        // Packed, it would only be unpacked again.
        command.args(["push", "--disable-compression", "--signature-policy"]);
        command.arg(configuration::path(configuration::POLICY));
        command.args([id.as_str(), &format!("oci:{}/{IMAGE}", root::OUT)]);
        self.run(command, spec, options, begun, &mut |_: &str| ()).await
    }

    /// Buildah, which sees its own files, its storage and what is in the view, and nothing else that is
    /// the machine's.
    fn buildah(&self, state: &State, spec: &BuildSpec, place: &Path, mut view: View) -> Command {
        view.add(How::Copy, &place.join(CONFIGURATION), root::CONFIGURATION);
        view.add(How::Write, &storage(state, spec), root::STORAGE);
        view.add_programs(self);
        let cgroup = cgroup(&state.layout.storage);
        let mut command = root::command(self, &place.join(ROOT), &cgroup, &view, &self.buildah);
        command.current_dir("/").env_clear();
        command.env("PATH", DIRECTORIES).env("HOME", root::WORK).env("TMPDIR", root::WORK);
        let read = |name: &str| configuration::path(name);
        command.env("CONTAINERS_STORAGE_CONF", read(configuration::STORAGE));
        command.env("CONTAINERS_CONF", read(configuration::CONTAINERS));
        command.env("CONTAINERS_REGISTRIES_CONF", read(configuration::REGISTRIES));
        let here =
            |name: &&str| std::env::var_os(name).map(|value| (OsStr::new(*name).to_owned(), value));
        command.envs(HANDED_ON.iter().filter_map(here));
        command
    }

    async fn run(
        &self,
        command: Command,
        spec: &BuildSpec,
        options: &BuildOptions,
        begun: tokio::time::Instant,
        log: &mut (dyn FnMut(&str) + Send),
    ) -> Result<(), RootfsError> {
        let mut lines = Lines::default();
        let left = options.timeout.saturating_sub(begun.elapsed());
        let ended = run::run(command, left, &mut lines, log).await;
        let output = lines.tail.trim_end().to_owned();
        let said = |text: &str| output.lines().any(|line| line == text);
        match ended.map_err(RootfsError::files("run", &self.buildah))? {
            Ended::Well => Ok(()),
            Ended::TooLate => {
                Err(RootfsError::BuildTimeout { seconds: options.timeout.as_secs(), output })
            }
            Ended::Badly if said(dockerfile::NO_PYTHON) => {
                Err(RootfsError::NoPython { python: spec.python.clone() })
            }
            Ended::Badly if said(dockerfile::NO_MICROMAMBA) => Err(RootfsError::NoMicromamba),
            Ended::Badly => Err(RootfsError::Build { output }),
        }
    }
}

/// Buildah's storage for what one owner builds: whatever a step could do to it, it did to itself.
fn storage(state: &State, spec: &BuildSpec) -> PathBuf {
    let of = Digest::of(spec.owner.as_bytes());
    state.layout.storage.join(format!("of-{}", &of.hex()[..16]))
}

/// The id of the image that was built, of a file in a directory that is not to be trusted.
fn image_id_in(path: &Path) -> Result<String, RootfsError> {
    let read = || {
        let facts = fs::symlink_metadata(path)?;
        let length = facts.len();
        if !facts.is_file() || length > 200 {
            return Err(std::io::Error::other("it is no file with an id"));
        }
        fs::read_to_string(path)
    };
    let text = read().map_err(RootfsError::files("read", path))?;
    Ok(Digest::parse(text.trim())?.as_str().to_owned())
}

/// What buildah calls a layout that is a directory, or an archive.
fn transport(layout: &Path) -> &'static str {
    if layout.is_dir() { "oci" } else { "oci-archive" }
}

/// Removes the cgroups of a build when it has ended. Those of one that was killed are in use for a
/// moment longer; they go after the next build, or at the next start.
struct Cgroups(String);

impl Drop for Cgroups {
    fn drop(&mut self) {
        cgroups::remove(&self.0);
    }
}

/// Removes what builds of a killed process left.
pub(crate) fn sweep(storage: &Path) {
    cgroups::remove(&cgroup(storage));
}

/// The name of the cgroup that the steps of builds with this storage are below.
fn cgroup(storage: &Path) -> String {
    let of = Digest::of(storage.as_os_str().as_encoded_bytes());
    format!("/metal9-build-{}", &of.hex()[..12])
}
