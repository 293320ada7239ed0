//! The Python environment of tests, examples and measurements: `.venv` at the top of the repository.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{apt, pins, run};

/// The oldest Python that the SDK runs on.
const OLDEST: (u32, u32) = (3, 10);

/// Interpreters to look for; the first that fits is used.
const CANDIDATES: [&str; 5] = ["python3.11", "python3.12", "python3.13", "python3.10", "python3"];

/// An environment with the SDK and the development tools.
pub(crate) struct Venv {
    directory: PathBuf,
}

impl Venv {
    /// Makes the environment, or brings it up to date; nothing happens if it already is.
    ///
    /// # Errors
    ///
    /// If there is no Python that fits, or the packages cannot be installed.
    pub(crate) fn ensure() -> Result<Self> {
        let venv = Self { directory: crate::root().join(".venv") };
        let stamp = venv.directory.join("up-to-date");
        let wanted = format!("{}\n{}", pins::SDK, pins::DEV);
        if fs::read_to_string(&stamp).is_ok_and(|have| have == wanted)
            && run::output(venv.python().arg("--version")).is_some()
        {
            return Ok(venv);
        }
        if venv.directory.is_symlink() {
            let place = venv.directory.display();
            bail!(
                "{place} is a link and not up to date: making it anew would empty what it names; remove it"
            );
        }
        println!("preparing .venv with {}", pins::SDK.trim());
        venv.create()?;
        venv.install()?;
        fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
        Ok(venv)
    }

    /// The environment's interpreter.
    pub(crate) fn python(&self) -> Command {
        let mut command = Command::new(self.bin().join("python"));
        command.env_remove("PYTHONPATH").env_remove("PYTHONHOME");
        command
    }

    /// The directory of the environment's programs.
    pub(crate) fn bin(&self) -> PathBuf {
        self.directory.join("bin")
    }

    fn create(&self) -> Result<()> {
        let python = find_python()?;
        let mut make = Command::new(python);
        make.args(["-m", "venv", "--clear"]).arg(&self.directory);
        if run::output(&mut make).is_some() {
            return Ok(());
        }
        // Debian's Python comes without the part that makes environments.
        if !apt::install(&["python3-venv"])? {
            bail!(
                "{python} cannot make a virtual environment; on Debian and Ubuntu run `apt-get install python3-venv` as root"
            );
        }
        run::quietly(&format!("{python} -m venv"), &mut make)
    }

    fn install(&self) -> Result<()> {
        let uv = pins::requirement(pins::DEV, "uv").context("python/dev.txt does not pin uv")?;
        run::quietly("pip install uv", self.python().args(["-m", "pip", "install", "-q", uv]))?;
        let mut install = Command::new(self.bin().join("uv"));
        install.args(["pip", "install", "--python"]).arg(self.bin().join("python"));
        for file in ["python/sdk.txt", "python/dev.txt"] {
            install.arg("-r").arg(crate::root().join(file));
        }
        run::quietly("uv pip install", &mut install)
    }
}

fn find_python() -> Result<&'static str> {
    for name in CANDIDATES {
        if version(name).is_some_and(|version| version >= OLDEST) {
            return Ok(name);
        }
    }
    let ((major, minor), names) = (OLDEST, CANDIDATES.join(", "));
    bail!("there is no Python from {major}.{minor} on; install one of {names}")
}

fn version(python: &str) -> Option<(u32, u32)> {
    let script = "import sys; print(*sys.version_info[:2])";
    let text = run::output(Command::new(python).args(["-c", script]))?;
    let (major, minor) = text.trim().split_once(' ')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
