//! The uv program: where it is, how it is installed, how it is called.

use std::path::{Path, PathBuf};

use metal9_types::PythonVersion;
use tokio::process::Command;

use crate::EnvError;
use crate::child_env;
use crate::layout::Layout;
use crate::process::{self, Input};
use crate::pythons::{self, Pythons};
use crate::tools::Tool;

/// The uv that is installed where there is none.
const UV: Tool = Tool { package: "uv", program: "uv", fallback: "0.13.9" };
/// The oldest uv that has all options used here.
const OLDEST: (u32, u32) = (0, 8);

/// What releases call the uv they bring, so that it is nobody else's.
const BESIDE: &str = "metal9-uv";

/// A uv that works.
#[derive(Clone, Debug)]
pub(crate) struct Uv {
    program: PathBuf,
    cache: PathBuf,
    work: PathBuf,
}

impl Uv {
    /// The uv that was named, one that is there, or one installed below the root.
    pub(crate) async fn find(
        named: Option<&Path>,
        preferred_python: Option<PythonVersion>,
        layout: &Layout,
    ) -> Result<Self, EnvError> {
        if let Some(uv) = Self::present(named, layout).await? {
            return Ok(uv);
        }
        let uv = Self::at(UV.ensure(&layout.tools, preferred_python).await?, layout);
        uv.version().await?;
        Ok(uv)
    }

    /// A program that keeps its things below the root.
    pub(crate) fn at(program: PathBuf, layout: &Layout) -> Self {
        Self { program, cache: layout.uv_cache.clone(), work: layout.root.clone() }
    }

    /// The uv that was named, or one of use on the search path or beside this program.
    pub(crate) async fn present(
        named: Option<&Path>,
        layout: &Layout,
    ) -> Result<Option<Self>, EnvError> {
        let at = |program: PathBuf| Self::at(program, layout);
        let from_env = std::env::var_os("METAL9_UV").filter(|path| !path.is_empty());
        if let Some(path) = named.map(Path::to_owned).or_else(|| from_env.map(PathBuf::from)) {
            let uv = at(path);
            return match uv.version().await? {
                version if version >= OLDEST => Ok(Some(uv)),
                (major, minor) => Err(EnvError::UnusableUv {
                    path: uv.program,
                    reason: format!(
                        "it is version {major}.{minor}, at least {}.{} is needed",
                        OLDEST.0, OLDEST.1
                    ),
                }),
            };
        }
        for path in which::which("uv").ok().into_iter().chain(beside()) {
            let uv = at(path);
            match uv.version().await {
                Ok(version) if version >= OLDEST => return Ok(Some(uv)),
                Ok(version) => tracing::info!(
                    path = %uv.program.display(),
                    ?version,
                    "this uv is too old"
                ),
                Err(error) => tracing::info!(%error, "this uv does not work"),
            }
        }
        Ok(None)
    }

    /// Where it is.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// A uv command that sees only settings of where packages come from.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        child_env::clean(&mut command);
        child_env::translate_pip_settings(&mut command);
        command
            .args(words)
            .args(["--color", "never", "--cache-dir"])
            .arg(&self.cache)
            // Said again here, it marks what a killed worker has left running.
            .env("UV_CACHE_DIR", &self.cache)
            .env("UV_PYTHON_DOWNLOADS", "never")
            // No project's settings may reach an environment.
            .current_dir(&self.work);
        command
    }

    /// The interpreters of the machine, and those installed below the directory `ours`; who asks
    /// for any gets the preferred version, if it is there.
    pub(crate) async fn pythons(
        &self,
        ours: &Path,
        preferred: Option<PythonVersion>,
    ) -> Result<Pythons, EnvError> {
        let mut command =
            self.command(&["python", "list", "--only-installed", "--output-format", "json"]);
        command.env("PATH", pythons::search_path(ours));
        let ended = process::run(command, Input::Nothing, &mut |_: &str| ()).await?;
        if !ended.success {
            return Err(EnvError::Answer { program: "uv python list".into(), reason: ended.tail });
        }
        let arch = std::env::consts::ARCH;
        let by_minor = pythons::read_list(&ended.stdout, arch, &self.work, pythons::real)?;
        let good = |minor: &u32| by_minor.get(minor).is_some_and(|python| !python.restarts);
        let preferred = match preferred {
            Some(PythonVersion::Minor(minor)) => Some(minor),
            _ => pythons::minor_on_path().await.filter(good),
        };
        Ok(Pythons::new(by_minor, preferred))
    }

    async fn version(&self) -> Result<(u32, u32), EnvError> {
        let mut command = Command::new(&self.program);
        child_env::clean(&mut command);
        command.arg("--version");
        let ended = match process::run(command, Input::Nothing, &mut |_: &str| ()).await {
            Ok(ended) => ended,
            Err(EnvError::Run { source, .. }) => return Err(self.unusable(source.to_string())),
            Err(error) => return Err(error),
        };
        read_version(&ended.stdout)
            .filter(|_| ended.success)
            .ok_or_else(|| self.unusable("it does not tell its version".to_owned()))
    }

    fn unusable(&self, reason: String) -> EnvError {
        EnvError::UnusableUv { path: self.program.clone(), reason }
    }
}

/// Reads `uv 0.13.9 (…)`.
fn read_version(text: &str) -> Option<(u32, u32)> {
    let mut words = text.split_whitespace();
    words.next().filter(|word| *word == "uv")?;
    let mut parts = words.next()?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// The uv that releases have beside their program, so that a machine needs no Python to begin with.
fn beside() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?.with_file_name(BESIDE);
    program.is_file().then_some(program)
}

/// The uv that [`Uv::find`] has installed below a root, if it has.
pub(crate) fn own(root: &Path) -> Option<PathBuf> {
    UV.installed(&root.join("tools"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_from_what_uv_says() {
        assert_eq!(read_version("uv 0.13.9 (x86_64-unknown-linux-gnu)\n"), Some((0, 13)));
        assert_eq!(read_version("uv 1.0.0"), Some((1, 0)));
        assert_eq!(read_version("pip 24.0"), None);
        assert_eq!(read_version(""), None);
    }

    #[tokio::test]
    async fn a_named_program_that_is_no_uv_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::create(root.path()).unwrap();
        for program in ["/bin/true", "/nowhere/uv"] {
            let error = Uv::find(Some(Path::new(program)), None, &layout).await.unwrap_err();
            assert!(matches!(error, EnvError::UnusableUv { .. }), "{error}");
            assert!(error.to_string().contains(program), "{error}");
        }
    }
}
