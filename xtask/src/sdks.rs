//! The SDK's oldest and newest versions that the Python package is tested with, each in an
//! environment of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::python::Venv;
use crate::{pins, run};

/// Tells the Python package's tests which interpreters to try, as `oldest=/x/python,…`.
pub(crate) const VARIABLE: &str = "METAL9_SDK_PYTHONS";

/// Makes the environments below `target`, or brings them up to date: the newest SDK is whatever the
/// index has today. The value of [`VARIABLE`] for them.
///
/// # Errors
///
/// If the packages cannot be installed.
pub(crate) fn ensure(venv: &Venv) -> Result<String> {
    let newest = "beta9>=0.1,<0.2";
    let sdks = [("oldest", pins::OLDEST_SDK.trim()), ("newest", newest)];
    let mut named = Vec::new();
    for (name, requirement) in sdks {
        let directory = crate::root().join("target/sdks").join(name);
        let python = install(venv, &directory, requirement)?;
        named.push(format!("{name}={}", python.display()));
    }
    Ok(named.join(","))
}

fn install(venv: &Venv, directory: &Path, requirement: &str) -> Result<PathBuf> {
    let python = directory.join("bin/python");
    let uv = || Command::new(venv.bin().join("uv"));
    if run::output(Command::new(&python).arg("--version")).is_none() {
        let mut make = uv();
        make.args(["venv", "--clear", "--python"]).arg(venv.bin().join("python")).arg(directory);
        run::quietly("uv venv", &mut make)?;
    }
    let mut install = uv();
    install.args(["pip", "install", "--upgrade", requirement, "--python"]).arg(&python);
    run::quietly(&format!("uv pip install {requirement}"), &mut install)?;
    Ok(python)
}
