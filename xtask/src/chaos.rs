//! `cargo xtask chaos`: random faults under load, and whether every call ended once and right.

use std::process::Stdio;

use anyhow::{Context as _, Result, bail};

use crate::python::Venv;
use crate::{demo, run};

/// The options of a chaos run.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How long faults happen
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// What the faults and the load are drawn from [default: a random one, which is told]
    #[arg(long)]
    seed: Option<u32>,
    /// Workers to run calls on
    #[arg(long, default_value_t = 3)]
    workers: u32,
}

/// Builds metal9 and runs `tests/chaos/run.py` against it.
///
/// # Errors
///
/// If the build fails, or anything is wrong after the run.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    println!("building metal9");
    run::quietly("cargo build", &mut run::cargo(&["build", "--workspace", "--bin", "metal9"]))?;
    let venv = Venv::ensure()?;
    let mut command = venv.python();
    command.arg("tests/chaos/run.py");
    command.args(["--minutes", &arguments.minutes.to_string()]);
    command.args(["--workers", &arguments.workers.to_string()]);
    if let Some(seed) = arguments.seed {
        command.args(["--seed", &seed.to_string()]);
    }
    let status = command
        .current_dir(crate::root())
        .env("METAL9_BIN", crate::root().join("target/debug/metal9").canonicalize()?)
        .env("PATH", demo::search_path(&venv)?)
        .stdin(Stdio::null())
        .status()
        .context("cannot start Python")?;
    if !status.success() {
        bail!("the chaos run ended with {status}");
    }
    Ok(())
}
