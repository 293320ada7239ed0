//! The runtimes, and in what they differ.

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::Container;
use crate::isolation::Network;

/// A kind of OCI runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Engine {
    /// runc.
    Runc,
    /// gVisor's runsc.
    Runsc,
}

impl Engine {
    /// The name of the program.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Runc => "runc",
            Self::Runsc => "runsc",
        }
    }

    /// Whether the processes inside are not processes of the machine.
    #[must_use]
    pub fn is_opaque(self) -> bool {
        self == Self::Runsc
    }
}

/// Why a runtime cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// It is not installed.
    #[error("`{}` is not installed on this machine", .0.name())]
    Missing(Engine),
    /// It does not say what it is.
    #[error("`{} --version` failed", program.display())]
    Version {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It would leave open what is mounted in directories that jobs may read.
    #[error(
        "runc {0} is too old: what is mounted below a directory could be written where jobs may only \
         read\nhint: install runc 1.1 or later"
    )]
    Old(String),
}

/// A runtime of this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OciRuntime {
    /// Which one.
    pub engine: Engine,
    /// Its file.
    pub program: PathBuf,
    /// What it calls its version.
    pub version: String,
}

/// The first gVisor whose containers can make sockets that the machine reaches, by `--host-uds`.
const HOST_SOCKETS: &str = "20230501";

/// The first gVisor that is sure to pass calls to NVIDIA's driver on, by `--nvproxy`.
const NVPROXY: &str = "20230801";

/// Where programs of the system are, also if nobody says so.
const USUAL: [&str; 4] = ["/usr/local/sbin", "/usr/sbin", "/usr/local/bin", "/usr/bin"];

impl OciRuntime {
    /// Looks for a runtime and asks it for its version. Blocks for some milliseconds.
    ///
    /// # Errors
    ///
    /// If it is not there, or cannot be executed.
    pub fn find(engine: Engine) -> Result<Self, RuntimeError> {
        let path = env::var_os("PATH").unwrap_or_default();
        let places = env::split_paths(&path).chain(USUAL.map(PathBuf::from));
        let mut programs = places.map(|place| place.join(engine.name()));
        let program =
            programs.find(|program| program.is_file()).ok_or(RuntimeError::Missing(engine))?;
        let failed = |source| RuntimeError::Version { program: program.clone(), source };
        let output = Command::new(&program).arg("--version").output().map_err(failed)?;
        if !output.status.success() {
            return Err(failed(io::Error::other(output.status.to_string())));
        }
        let version = read_version(&String::from_utf8_lossy(&output.stdout));
        let found = Self { engine, program, version };
        if found.closes_below() { Ok(found) } else { Err(RuntimeError::Old(found.version)) }
    }

    /// Whether sockets that a container makes in its directory are reached from the machine.
    #[must_use]
    pub fn shows_sockets(&self) -> bool {
        !self.engine.is_opaque() || self.is_since(HOST_SOCKETS)
    }

    /// Whether a container can use a GPU of NVIDIA's.
    #[must_use]
    pub fn passes_nvidia(&self) -> bool {
        !self.engine.is_opaque() || self.is_since(NVPROXY)
    }

    /// Whether a gVisor is of this day or later.
    fn is_since(&self, day: &str) -> bool {
        // Debian's packages call themselves 0.0~20221219.0.
        let version = self.version.strip_prefix("0.0~").unwrap_or(&self.version);
        let digits = version.chars().take_while(char::is_ascii_digit).count();
        digits == 8 && version >= day
    }

    /// Whether it knows options of mounts that are for all that is mounted below, too. An older runc takes
    /// them, and does nothing about it.
    fn closes_below(&self) -> bool {
        let mut numbers = self.version.split(['.', '-', '+', '~']).map(str::parse::<u32>);
        match (numbers.next(), numbers.next()) {
            _ if self.engine.is_opaque() => true,
            (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (1, 1),
            _ => false,
        }
    }

    /// The arguments that start a container of a bundle and return once it runs. Its first process inherits
    /// standard input and outputs.
    #[cfg_attr(
        all(not(target_os = "linux"), not(test)),
        expect(dead_code, reason = "containers are for Linux")
    )]
    pub(crate) fn start(
        &self,
        container: &Container,
        network: Network,
        bundle: &Path,
    ) -> Vec<OsString> {
        let mut arguments = self.global(container, network);
        arguments.extend(["run".into(), "--detach".into(), "--pid-file".into()]);
        arguments.extend([container.pid_file().into(), "--bundle".into()]);
        arguments.push(bundle.into());
        if !self.engine.is_opaque() {
            // The channel: descriptor 3.
            arguments.extend(["--preserve-fds".into(), "1".into()]);
        }
        arguments.push(container.id.clone().into());
        arguments
    }

    fn global(&self, container: &Container, network: Network) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["--root".into(), container.state().into()];
        match self.engine {
            Engine::Runc => {}
            Engine::Runsc => {
                // The group that it is started in holds all of it.
                arguments.push("--ignore-cgroups".into());
                // The network that it is started in is the container's own already where there is
                // one, and gVisor's own has no way out of it.
                let own = if network == Network::None { "none" } else { "host" };
                arguments.push(format!("--network={own}").into());
                if self.shows_sockets() {
                    arguments.push("--host-uds=all".into());
                }
                if container.edits.nvidia {
                    arguments.push("--nvproxy".into());
                }
            }
        }
        arguments
    }
}

/// `1.1.5` of `runc version 1.1.5+ds1`, the first word that begins with a digit after `version`.
fn read_version(told: &str) -> String {
    let words = told.split_ascii_whitespace();
    let mut words = words.skip_while(|word| *word != "version").skip(1);
    let version = words.next().unwrap_or("unknown");
    version.trim_start_matches("release-").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cdi::Edits;

    #[test]
    fn versions_are_read_as_the_runtimes_tell_them() {
        assert_eq!(read_version("runc version 1.1.5+ds1\ncommit: 1"), "1.1.5+ds1");
        assert_eq!(read_version("runsc version release-20250106.0\nspec: 1.1"), "20250106.0");
        assert_eq!(read_version("runsc version 0.0~20221219.0\nspec: 1.0"), "0.0~20221219.0");
        assert_eq!(read_version("?"), "unknown");
    }

    #[test]
    fn runtimes_are_told_the_same_but_for_what_they_differ_in() {
        let container = |engine: Engine| Container {
            runtime: OciRuntime {
                engine,
                program: PathBuf::from("/usr/bin").join(engine.name()),
                version: "1".into(),
            },
            id: "metal9-7".into(),
            directory: "/state/7".into(),
            users: None,
            network: None,
            layers: Vec::new(),
            edits: Edits::default(),
        };
        let told = |engine, network| {
            let container = container(engine);
            let arguments = container.runtime.start(&container, network, &container.bundle());
            arguments
                .iter()
                .map(|word| word.to_string_lossy().into_owned())
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(
            told(Engine::Runc, Network::None),
            "--root /state/7/state run --detach --pid-file /state/7/pid --bundle /state/7/bundle \
             --preserve-fds 1 metal9-7"
        );
        assert_eq!(
            told(Engine::Runsc, Network::None),
            "--root /state/7/state --ignore-cgroups --network=none run --detach --pid-file \
             /state/7/pid --bundle /state/7/bundle metal9-7"
        );
        assert!(told(Engine::Runsc, Network::GatewayOnly).contains("--network=host"));
        let nvidia = Container {
            edits: Edits { nvidia: true, ..Edits::default() },
            ..container(Engine::Runsc)
        };
        let words = nvidia.runtime.start(&nvidia, Network::Full, &nvidia.bundle());
        assert!(words.contains(&"--nvproxy".into()), "{words:?}");
        let nvidia = Container { runtime: container(Engine::Runc).runtime, ..nvidia };
        assert!(
            !nvidia
                .runtime
                .start(&nvidia, Network::Full, &nvidia.bundle())
                .contains(&"--nvproxy".into())
        );
        let runsc = |version: &str| {
            let runtime =
                OciRuntime { version: version.into(), ..container(Engine::Runsc).runtime };
            runtime.shows_sockets()
        };
        assert!(runsc("20250106.0") && !runsc("20221219.0") && !runsc("0.0~20221219.0"));
        assert!(runsc("0.0~20240729.0") && !runsc("unknown") && !runsc("0.0~1.2"));
        let closes = |engine, version: &str| {
            let version = version.into();
            OciRuntime { version, ..container(engine).runtime }.closes_below()
        };
        for version in ["1.1.5+ds1", "1.1.0", "1.3.0-rc.1", "2.0"] {
            assert!(closes(Engine::Runc, version), "{version}");
        }
        for version in ["1.0.0~rc93+ds1", "1.0.3", "unknown", "1"] {
            assert!(!closes(Engine::Runc, version), "{version}");
        }
        assert!(closes(Engine::Runsc, "0.0~20221219.0"));
    }
}
