//! `cargo xtask bench`: measures a release build.

use std::process::Stdio;

use anyhow::{Context as _, Result, bail};

use crate::python::Venv;
use crate::{apt, demo, run};

/// The options of a measurement.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Handed on to `bench/run.py`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// What is measured, and the programs that the measurement needs beside it.
const BUILD: [&str; 16] = [
    "build",
    "--release",
    "--package",
    "metal9-cli",
    "--package",
    "metal9-core",
    "--package",
    "metal9-testkit",
    "--bin",
    "metal9",
    "--example",
    "decisions",
    "--example",
    "fleet",
    "--example",
    "null_functions",
];

/// Programs that the measurement wants, and Debian's packages with them: load for what answers HTTP,
/// the store of what queues are compared with, what mounts JuiceFS.
const PROGRAMS: [(&str, &str); 3] =
    [("wrk", "wrk"), ("redis-server", "redis-server"), ("fusermount3", "fuse3")];

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// Builds metal9 for release and runs `bench/run.py` against it.
///
/// # Errors
///
/// If the build or the measurement fails.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    println!("building metal9 for release");
    run::quietly("cargo build --release", &mut run::cargo(&BUILD))?;
    let venv = Venv::ensure()?;
    let missing = PROGRAMS.into_iter().filter(|(program, _)| !is_there(program));
    let missing: Vec<_> = missing.map(|(_, package)| package).collect();
    if !missing.is_empty() && !apt::install(&missing)? {
        let missing = missing.join(" ");
        println!("some parts need Debian's {missing}, which only root can install; they will fail");
    }
    let status = venv
        .python()
        .arg("bench/run.py")
        .args(&arguments.rest)
        .current_dir(crate::root())
        .env("METAL9_BIN", crate::root().join("target/release/metal9").canonicalize()?)
        .env("PATH", demo::search_path(&venv)?)
        .stdin(Stdio::null())
        .status()
        .context("cannot start Python")?;
    if !status.success() {
        bail!("bench/run.py ended with {status}");
    }
    Ok(())
}
