//! From a lock to a directory.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use metal9_types::EnvLock;

use crate::layout::{self, Layout};
use crate::talk::Talk;
use crate::uv::Uv;
use crate::{EnvError, Environment, Progress, hold, lock, process, runner};

/// The lock's text inside its environment, for people to read.
const REQUIREMENTS: &str = "requirements.lock";
/// How files get from uv's cache into an environment without taking space twice.
const LINK_MODE: &str = if cfg!(target_os = "macos") { "clone" } else { "hardlink" };

/// What a build needs.
#[derive(Debug)]
pub(crate) struct Build<'a> {
    pub(crate) uv: &'a Uv,
    pub(crate) layout: &'a Layout,
    pub(crate) python: Interpreter,
    pub(crate) runner_dir: &'a Path,
    pub(crate) lock: &'a EnvLock,
    pub(crate) target: &'a Environment,
    /// Whether no package may be built from its source.
    pub(crate) only_wheels: bool,
}

/// The Python that an environment is for.
#[derive(Debug)]
pub(crate) enum Interpreter {
    /// One of this machine, on which the environment is based.
    Base(PathBuf),
    /// One that is somewhere else. With a Python of this machine that makes the same byte code, if there
    /// is one.
    Elsewhere { compiler: Option<PathBuf> },
}

impl Build<'_> {
    /// Builds the environment unless another process has; leaves nothing behind if it fails.
    pub(crate) async fn run(&self, progress: &Progress) -> Result<(), EnvError> {
        let waiting = || progress("waiting for another process that builds this environment\n");
        let ready = || layout::is_ready(self.target);
        let lock_file = self.layout.lock_file(&self.target.hash);
        // Once it is there, those who use it have shares of the lock: waiting for it may be long.
        let Some(held) = hold::acquire_unless(&lock_file, waiting, ready).await? else {
            return Ok(());
        };
        if ready() {
            return Ok(());
        }
        self.on_disk(layout::remove).await?;
        let result = self.steps(&held, progress).await;
        if result.is_err() {
            self.on_disk(layout::remove).await?;
        }
        result
    }

    async fn steps(&self, held: &File, progress: &Progress) -> Result<(), EnvError> {
        let packages = match self.lock.package_count() {
            1 => "1 package".to_owned(),
            count => format!("{count} packages"),
        };
        progress(&format!("building the environment: python {}, {packages}\n", self.lock.python));
        match &self.python {
            Interpreter::Base(python) => self.venv(python, held, progress).await?,
            Interpreter::Elsewhere { compiler } => {
                self.packages(compiler.as_deref(), held, progress).await?;
            }
        }
        self.on_disk(layout::complete).await
    }

    async fn venv(&self, python: &Path, held: &File, progress: &Progress) -> Result<(), EnvError> {
        let mut venv = self.uv.command(&["venv", "--no-project"]);
        venv.arg("--python").arg(python).arg(&self.target.dir);
        self.uv(venv, held, progress).await?;

        let requirements = self.write_requirements()?;
        let mut sync = self.uv.command(&["pip", "sync", "--compile-bytecode"]);
        sync.args(["--allow-empty-requirements", self.hashes(), "--link-mode", LINK_MODE])
            .arg("--python")
            .arg(&self.target.python)
            .arg(&requirements);
        if self.only_wheels {
            sync.args(["--only-binary", ":all:"]);
        }
        self.uv(sync, held, progress).await?;

        runner::compile(&self.target.python, self.runner_dir).await;
        Ok(())
    }

    /// Installs the packages for a Python that is not here, nor on any path of this machine.
    async fn packages(
        &self,
        compiler: Option<&Path>,
        held: &File,
        progress: &Progress,
    ) -> Result<(), EnvError> {
        fs::create_dir_all(&self.target.dir)
            .map_err(|error| EnvError::files("create", &self.target.dir, error))?;
        let requirements = self.write_requirements()?;
        let mut install = self.uv.command(&["pip", "install", "--no-deps", self.hashes()]);
        install.args(["--only-binary", ":all:", "--link-mode", LINK_MODE]);
        install.args(["--python-version", &self.lock.python, "--python-platform"]);
        install.arg(lock::uv_platform_of_roots(self.lock.platform));
        install.arg("--target").arg(&self.target.python).arg("-r").arg(&requirements);
        self.uv(install, held, progress).await?;
        match compiler {
            Some(python) => {
                runner::compile(python, &self.target.python).await;
                runner::compile(python, self.runner_dir).await;
            }
            // Jobs cannot write it either: every process of theirs compiles them anew.
            None => progress(&format!(
                "this machine has no python {}: what is imported from the SDK is not compiled ahead\n",
                self.lock.python
            )),
        }
        Ok(())
    }

    /// A package by its address has no hash.
    fn hashes(&self) -> &'static str {
        if self.lock.is_hashed() { "--require-hashes" } else { "--verify-hashes" }
    }

    async fn uv(
        &self,
        command: tokio::process::Command,
        held: &File,
        progress: &Progress,
    ) -> Result<(), EnvError> {
        let mut talk = Talk::new(progress);
        let input = hold::share(held)?;
        let ended = process::run(command, input, &mut |line: &str| talk.hear(line)).await?;
        if ended.success {
            return Ok(());
        }
        Err(talk.failure(&ended.tail, |output| match self.only_wheels {
            true => EnvError::NoWheel { output },
            false => EnvError::Build { output },
        }))
    }

    fn write_requirements(&self) -> Result<PathBuf, EnvError> {
        let path = self.target.dir.join(REQUIREMENTS);
        fs::write(&path, &self.lock.requirements)
            .map_err(|error| EnvError::files("write", &path, error))?;
        Ok(path)
    }

    /// Does disk work on the environment away from the threads that serve everyone.
    async fn on_disk(
        &self,
        work: impl FnOnce(&Environment) -> Result<(), EnvError> + Send + 'static,
    ) -> Result<(), EnvError> {
        let target = self.target.clone();
        tokio::task::spawn_blocking(move || work(&target)).await.unwrap_or_else(|error| {
            Err(EnvError::files("work on", &self.target.dir, std::io::Error::other(error)))
        })
    }
}
