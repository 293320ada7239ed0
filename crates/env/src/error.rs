//! Why an environment could not be had.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use metal9_types::{Platform, Refusal, Target};

use crate::reason;

/// Why there is no lock or no environment. Cloneable, since everyone who waits for one build gets
/// its error.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvError {
    /// The image asks for what a native worker cannot give.
    #[error("the image cannot be made on a native worker:\n{}", refusals_text(.0))]
    Refused(Vec<Refusal>),
    /// The Python version is not on this machine.
    #[error("python {wanted} is not on this machine; it has {}", list_text(available))]
    PythonMissing {
        /// The version asked for, as `3.12`; `3` for any.
        wanted: String,
        /// The versions there are.
        available: Vec<String>,
    },
    /// The Python version is not on this machine and could not be installed.
    #[error("python {version} could not be installed:\n{output}")]
    PythonInstall {
        /// The version, as `3.12`.
        version: String,
        /// uv's own text.
        output: String,
    },
    /// uv found no set of packages that fits the requirements.
    #[error("the python packages could not be resolved:\n{output}")]
    Unresolvable {
        /// uv's own text.
        output: String,
    },
    /// uv found no set of packages that fits the requirements on another kind of machine.
    #[error("the python packages could not be resolved for {target}:\n{output}")]
    UnresolvableThere {
        /// The other kind.
        target: Target,
        /// uv's own text.
        output: String,
    },
    /// uv found no set of wheels that fits, where packages are not built from their source.
    #[error(
        "the python packages could not be had as wheels, and this worker's pool is for code that nobody \
         trusts: there no package is built from its source\n{output}"
    )]
    NoWheel {
        /// uv's own text.
        output: String,
    },
    /// The package index could not be reached.
    #[error("the package index could not be reached:\n{output}")]
    Offline {
        /// uv's own text.
        output: String,
    },
    /// The environment of a lock could not be built.
    #[error("the environment could not be built:\n{output}")]
    Build {
        /// uv's own text.
        output: String,
    },
    /// The lock is for another kind of machine.
    #[error("the environment is for {wanted}, this machine is {}", platform_text(*here))]
    WrongPlatform {
        /// The lock's platform.
        wanted: Platform,
        /// This machine's; nothing for one metal9 does not know.
        here: Option<Platform>,
    },
    /// metal9 knows no environments for this kind of machine.
    #[error("there are no environments for {} on {}", std::env::consts::OS, std::env::consts::ARCH)]
    UnknownPlatform,
    /// There is no usable tool of this name and none could be installed.
    #[error("{tool} {version} could not be installed:\n{output}")]
    Bootstrap {
        /// The program wanted, as `uv`.
        tool: String,
        /// The version wanted.
        version: String,
        /// What was tried and went wrong.
        output: String,
    },
    /// The uv that was named cannot be used.
    #[error("`{}` cannot be used as uv: {reason}", path.display())]
    UnusableUv {
        /// The program.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A program could not be started or talked to.
    #[error("could not run `{}`", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// A program answered something else than what it should.
    #[error("`{program}` gave an answer that could not be understood: {reason}")]
    Answer {
        /// The command.
        program: String,
        /// What is wrong.
        reason: String,
    },
    /// A file or directory could not be worked with.
    #[error("could not {action} `{}`", path.display())]
    Files {
        /// What was tried, as `create`.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
}

impl EnvError {
    /// What the person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoWheel { .. } => Some(
                "ask for a version that has a wheel for this machine, name the address of a wheel that \
                 you built (`.whl`), or use a pool that is trusted"
                    .to_owned(),
            ),
            Self::PythonMissing { wanted, available } => Some(match available.last() {
                Some(_) => format!(
                    "ask for one of those, as `Image(python_version=\"python{}\")`, or install \
                     python {wanted} on the worker",
                    available.last().map_or("3", String::as_str)
                ),
                None => "install Python 3.8 or later on the worker".to_owned(),
            }),
            Self::PythonInstall { version, .. } => Some(format!(
                "check the worker's network and proxy, name a reachable mirror with \
                 `UV_PYTHON_INSTALL_MIRROR` in the worker's environment, or install it yourself: \
                 `uv python install {version}`"
            )),
            Self::Offline { .. } => Some(
                "check the worker's network and proxy, or name a reachable index with \
                 `UV_DEFAULT_INDEX` in the worker's environment"
                    .to_owned(),
            ),
            Self::Bootstrap { tool, .. } if tool != "uv" => {
                Some(format!("install {tool} yourself and put it on PATH"))
            }
            Self::Bootstrap { .. } => Some(
                "install uv yourself (`pip install uv`, `brew install uv`) and put it on PATH or \
                 name it with `METAL9_UV`; on Debian and Ubuntu `apt-get install python3-venv` may \
                 be all that is missing"
                    .to_owned(),
            ),
            Self::UnusableUv { .. } => {
                Some("install a current uv, as with `pip install --upgrade uv`".to_owned())
            }
            _ => None,
        }
    }

    /// The reason in one line, for a table or a sentence.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Unresolvable { output }
            | Self::UnresolvableThere { output, .. }
            | Self::NoWheel { output } => reason::one_line(output),
            Self::Refused(refusals) => {
                let reasons = refusals.iter().map(|r| format!("{}: {}", r.feature, r.reason));
                reasons.collect::<Vec<_>>().join("; ")
            }
            Self::Offline { .. } => "the package index could not be reached".to_owned(),
            other => other.to_string().lines().next().unwrap_or_default().to_owned(),
        }
    }

    /// `true` if the same packages will not be had later either, whatever happens to the network.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Refused(_)
                | Self::Unresolvable { .. }
                | Self::UnresolvableThere { .. }
                | Self::NoWheel { .. }
        )
    }

    pub(crate) fn files(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Files { action, path: path.to_owned(), source: Arc::new(source) }
    }
}

fn refusals_text(refusals: &[Refusal]) -> String {
    refusals.iter().map(Refusal::to_string).collect::<Vec<_>>().join("\n")
}

fn list_text(versions: &[String]) -> String {
    if versions.is_empty() { "none".to_owned() } else { versions.join(", ") }
}

fn platform_text(platform: Option<Platform>) -> &'static str {
    platform.map_or("of an unknown kind", Platform::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_python_that_cannot_be_had_says_what_to_do() {
        let output = "error: failed to download".into();
        let error = EnvError::PythonInstall { version: "3.12".into(), output };
        assert!(error.to_string().ends_with("\nerror: failed to download"), "{error}");
        let hint = error.hint().unwrap();
        for step in ["proxy", "`UV_PYTHON_INSTALL_MIRROR`", "`uv python install 3.12`"] {
            assert!(hint.contains(step), "{hint}");
        }
    }
}
