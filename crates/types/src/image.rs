//! The environment a stub asks for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::root::RootLock;
use crate::{ImageId, MacosVersion, WorkspaceId};

/// One step of an image's build, in the client's order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BuildStep {
    /// `pip`, `shell` or `micromamba`.
    pub kind: String,
    /// The step's text: packages for `pip`, a command for the others.
    pub command: String,
}

/// Everything a client can ask of an image.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ImageSpec {
    /// `python3`, `python3.11`, `micromamba3.11`, …
    pub python_version: String,
    /// Requirement lines.
    pub python_packages: Vec<String>,
    /// Shell commands.
    pub commands: Vec<String>,
    /// Build steps, in order.
    pub build_steps: Vec<BuildStep>,
    /// Environment variables of the built image.
    pub env_vars: Vec<(String, String)>,
    /// An OCI image to start from.
    pub base_image: String,
    /// The text of a Dockerfile.
    pub dockerfile: String,
    /// The object that is the Dockerfile's context.
    pub build_context: String,
    /// Names of secrets the build wants.
    pub secrets: Vec<String>,
    /// An accelerator the build wants.
    pub gpu: String,
    /// A repository to build from.
    pub git_repository: String,
    /// `true` if the image need not contain Python.
    pub ignore_python: bool,
    /// The SDK the caller runs, as `0.1.291`; the environment gets the same one.
    pub sdk_version: String,
    /// Whose it is, if it has a root filesystem: what one workspace's credentials and secrets made is
    /// nobody else's. Nothing for what everybody makes alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<WorkspaceId>,
    /// Names of the secrets by which the registry of the base image knows the workspace. They do not
    /// make it another image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credentials: Vec<String>,
}

/// Something an image asks for that a native worker cannot give.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Refusal {
    /// What was asked for.
    pub feature: String,
    /// Why it cannot be had.
    pub reason: String,
    /// What to do.
    pub hint: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}\nhint: {}", self.feature, self.reason, self.hint)
    }
}

impl ImageSpec {
    /// The image's name: the same for equal specs, whoever asks.
    #[must_use]
    pub fn id(&self) -> ImageId {
        let text = match self.credentials.is_empty() {
            true => serde_json::to_vec(self),
            false => serde_json::to_vec(&Self { credentials: Vec::new(), ..self.clone() }),
        };
        let hash = Sha256::digest(text.unwrap_or_default());
        ImageId(hash[..8].iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// All requirement lines: the packages, then the `pip` steps (one line each), in the client's
    /// order and without repetitions. The SDK is not among them.
    #[must_use]
    pub fn requirements(&self) -> Vec<String> {
        let steps = self.build_steps.iter().filter(|step| step.kind == "pip");
        let lines = self.python_packages.iter().chain(steps.map(|step| &step.command));
        let mut requirements: Vec<String> = Vec::new();
        for line in lines.map(|line| line.trim()) {
            if !line.is_empty() && !requirements.iter().any(|known| known == line) {
                requirements.push(line.to_owned());
            }
        }
        requirements
    }

    /// What of this image a native worker cannot honour; empty if it can run.
    #[must_use]
    pub fn native_refusals(&self) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        let mut refuse = |feature: &str, reason: &str, hint: &str| {
            refusals.push(Refusal {
                feature: feature.into(),
                reason: reason.into(),
                hint: hint.into(),
            });
        };
        let host =
            "native workers run jobs on the host itself, where an image cannot change the system";
        let shell = self.build_steps.iter().filter(|step| step.kind == "shell");
        for command in self.commands.iter().chain(shell.map(|step| &step.command)) {
            let hint = match command.trim().split_once("pip install ") {
                Some((_, packages)) => {
                    format!("use `Image().add_python_packages([…])` for `{}`", packages.trim())
                }
                None => "install what the command brings on the worker's host, or use \
                         `add_python_packages` for Python packages"
                    .to_owned(),
            };
            refuse(&format!("command `{command}`"), host, &hint);
        }
        if self.build_steps.iter().any(|step| step.kind == "micromamba") || self.is_micromamba() {
            refuse(
                "micromamba",
                "native workers make environments with uv",
                "use `python_version=\"python3.11\"` and `add_python_packages`",
            );
        }
        if !self.base_image.is_empty() {
            refuse(
                &format!("base image `{}`", self.base_image),
                "native workers run no container images",
                "leave `base_image` out and name the packages with `add_python_packages`",
            );
        }
        if !self.dockerfile.is_empty() {
            refuse(
                "Dockerfile",
                "native workers run no container images",
                "describe the environment with `Image(python_version=…, python_packages=[…])`",
            );
        }
        if !self.git_repository.is_empty() {
            refuse(
                &format!("git build source `{}`", self.git_repository),
                "native workers build no container images",
                "put the repository's requirement into `python_packages` as `name @ git+https://…`",
            );
        }
        if !self.secrets.is_empty() {
            refuse(
                "build secrets",
                "environments are made from public requirements only",
                "give secrets to the function with `secrets=[…]`; it sees them when it runs",
            );
        }
        if !self.gpu.is_empty() {
            refuse(
                &format!("build GPU `{}`", self.gpu),
                "environments are made without running their code",
                "leave `build_with_gpu` out and ask for the GPU on the function",
            );
        }
        if let Err(error) = self.python_version.parse::<PythonVersion>()
            && !self.is_micromamba()
        {
            refuse("python_version", &error, "use `python3`, or a version as `python3.11`");
        }
        refusals
    }
}

/// A Python version as clients ask for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum PythonVersion {
    /// Whatever the worker prefers.
    Any,
    /// A minor version of Python 3.
    Minor(u32),
}

impl FromStr for PythonVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let rest = text.strip_prefix("python").unwrap_or(text);
        if matches!(rest, "" | "3") {
            return Ok(Self::Any);
        }
        rest.strip_prefix("3.")
            .and_then(|minor| minor.parse().ok())
            .map(Self::Minor)
            .ok_or_else(|| format!("`{text}` is not a Python version"))
    }
}

/// Operating system and processor, as Python wheels see them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Platform {
    /// `x86_64-linux`
    #[serde(rename = "x86_64-linux")]
    X86_64Linux,
    /// `aarch64-linux`
    #[serde(rename = "aarch64-linux")]
    Aarch64Linux,
    /// `aarch64-apple-darwin`
    #[serde(rename = "aarch64-apple-darwin")]
    Aarch64Darwin,
}

impl Platform {
    /// The platform this program was built for; nothing on one metal9 does not support.
    #[must_use]
    pub fn current() -> Option<Self> {
        match (std::env::consts::ARCH, std::env::consts::OS) {
            ("x86_64", "linux") => Some(Self::X86_64Linux),
            ("aarch64", "linux") => Some(Self::Aarch64Linux),
            ("aarch64", "macos") => Some(Self::Aarch64Darwin),
            _ => None,
        }
    }

    /// Its name in messages and file names.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::X86_64Linux => "x86_64-linux",
            Self::Aarch64Linux => "aarch64-linux",
            Self::Aarch64Darwin => "aarch64-apple-darwin",
        }
    }
}

impl FromStr for Platform {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::X86_64Linux, Self::Aarch64Linux, Self::Aarch64Darwin]
            .into_iter()
            .find(|platform| platform.as_str() == text)
            .ok_or_else(|| format!("`{text}` is not a platform"))
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an image is resolved for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Target {
    /// Operating system and processor.
    pub platform: Platform,
    /// On a Mac, the oldest macOS it must run on; nothing elsewhere.
    pub macos: Option<MacosVersion>,
}

impl Target {
    /// Every platform there is; Macs from macOS `macos` on.
    #[must_use]
    pub fn all(macos: MacosVersion) -> [Self; 3] {
        let linux = |platform| Self { platform, macos: None };
        [linux(Platform::X86_64Linux), linux(Platform::Aarch64Linux), Self::mac(macos)]
    }

    /// Macs with Apple silicon, from macOS `macos` on.
    #[must_use]
    pub fn mac(macos: MacosVersion) -> Self {
        Self { platform: Platform::Aarch64Darwin, macos: Some(macos) }
    }
}

impl From<Platform> for Target {
    fn from(platform: Platform) -> Self {
        let macos = (platform == Platform::Aarch64Darwin).then_some(MacosVersion::DEFAULT);
        Self { platform, macos }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.macos {
            Some(macos) => write!(f, "{} (macOS {macos} and later)", self.platform),
            None => self.platform.fmt(f),
        }
    }
}

/// An image resolved for one platform: the same lock gives the same environment everywhere.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EnvLock {
    /// The platform it was resolved for.
    pub platform: Platform,
    /// The exact Python minor version, as `3.11`.
    pub python: String,
    /// Pinned requirements with hashes, one requirements file.
    pub requirements: String,
    /// On a Mac, the oldest macOS it fits; nothing if nobody has asked for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub macos: Option<MacosVersion>,
    /// The root filesystem that `requirements` are for and are added to; nothing where an environment
    /// is made on the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<RootLock>,
}

impl EnvLock {
    /// `true` if it is right for all machines of a target.
    #[must_use]
    pub fn fits(&self, target: Target) -> bool {
        let old_enough = match (self.macos, target.macos) {
            (Some(mine), Some(theirs)) => mine <= theirs,
            (Some(_), None) => false,
            (None, _) => true,
        };
        self.platform == target.platform && old_enough
    }

    /// How many packages it has.
    #[must_use]
    pub fn package_count(&self) -> usize {
        let is_package = |line: &&str| !line.starts_with([' ', '-', '#']) && !line.is_empty();
        self.requirements.lines().filter(is_package).count()
    }

    /// `true` if a hash stands behind every package, so that nothing else can be installed.
    #[must_use]
    pub fn is_hashed(&self) -> bool {
        let text = self.requirements.replace("\\\n", " ");
        let packages = text.lines().filter(|line| !line.starts_with('-') && !line.is_empty());
        packages.into_iter().all(|line| line.contains("--hash="))
    }

    /// The hash that names the environment's directory: 32 hex digits.
    #[must_use]
    pub fn hash(&self) -> String {
        let mut hasher = Sha256::new();
        hasher.update(self.platform.as_str());
        hasher.update([0]);
        hasher.update(&self.python);
        hasher.update([0]);
        hasher.update(&self.requirements);
        if self.root.is_some() {
            // Whichever it is: they are installed for a Python that is somewhere else.
            hasher.update("\0root");
        }
        hasher.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_specs_have_equal_ids_and_any_difference_shows() {
        let plain = ImageSpec { python_version: "python3".into(), ..ImageSpec::default() };
        let mut other = plain.clone();
        assert_eq!(plain.id(), other.id());
        assert_eq!(plain.id().0.len(), 16);
        other.sdk_version = "0.1.291".into();
        assert_ne!(plain.id(), other.id());
    }

    #[test]
    fn pip_steps_join_the_packages_in_order() {
        let spec = ImageSpec {
            python_packages: vec!["numpy==2.1.0".into()],
            build_steps: vec![
                BuildStep { kind: "pip".into(), command: " rich; python_version < '4' ".into() },
                BuildStep { kind: "shell".into(), command: "true".into() },
            ],
            ..ImageSpec::default()
        };
        assert_eq!(spec.requirements(), ["numpy==2.1.0", "rich; python_version < '4'"]);
    }

    #[test]
    fn a_refused_feature_says_what_to_use_instead() {
        let spec = ImageSpec {
            python_version: "python3.11".into(),
            commands: vec!["pip install torch".into()],
            base_image: "debian:12".into(),
            ..ImageSpec::default()
        };
        let refusals = spec.native_refusals();
        assert_eq!(refusals.len(), 2);
        assert!(refusals[0].hint.contains("add_python_packages"), "{}", refusals[0]);
        assert!(refusals[1].feature.contains("debian:12"));
        let plain = ImageSpec { python_version: "python3".into(), ..ImageSpec::default() };
        assert!(plain.native_refusals().is_empty());
    }

    #[test]
    fn a_lock_for_an_older_macos_fits_newer_macs_and_not_the_other_way_round() {
        let version = |text: &str| text.parse::<MacosVersion>().unwrap();
        let mut lock = EnvLock {
            platform: Platform::Aarch64Darwin,
            python: "3.12".into(),
            requirements: String::new(),
            macos: Some(version("14.0")),
            root: None,
        };
        assert!(lock.fits(Target::mac(version("14.0"))) && lock.fits(Target::mac(version("26.4"))));
        assert!(!lock.fits(Target::mac(version("13.6"))));
        assert!(!lock.fits(Platform::Aarch64Linux.into()));
        // As kept before anybody asked for a version.
        lock.macos = None;
        assert!(lock.fits(Target::mac(version("13.6"))));
    }

    #[test]
    fn packages_are_counted_without_their_hashes_and_options() {
        let lock = EnvLock {
            platform: Platform::X86_64Linux,
            python: "3.12".into(),
            requirements: "--index-url https://a\nsix==1 \\\n    --hash=sha256:0\nrich==2\n".into(),
            macos: None,
            root: None,
        };
        assert_eq!(lock.package_count(), 2);
    }

    #[test]
    fn a_package_without_a_hash_is_seen() {
        let lock = |requirements: &str| EnvLock {
            platform: Platform::X86_64Linux,
            python: "3.12".into(),
            requirements: requirements.into(),
            macos: None,
            root: None,
        };
        assert!(lock("--index-url https://a\nsix==1 \\\n    --hash=sha256:0\n").is_hashed());
        assert!(!lock("six==1 \\\n    --hash=sha256:0\nx @ git+https://a/x@1\n").is_hashed());
    }

    #[test]
    fn python_versions_are_read_with_and_without_the_word() {
        assert_eq!("python3".parse(), Ok(PythonVersion::Any));
        assert_eq!("python3.12".parse(), Ok(PythonVersion::Minor(12)));
        assert_eq!("3.9".parse(), Ok(PythonVersion::Minor(9)));
        assert!("python2.7".parse::<PythonVersion>().is_err());
    }
}
