//! `cargo xtask demo`: the quickstart, from nothing to results.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::python::Venv;
use crate::run;
use crate::server::Server;

/// The options of the demo.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The program in `examples/` to run
    #[arg(default_value = "quickstart.py")]
    example: String,
}

/// Builds metal9, starts it, runs an example with the SDK, and stops it.
///
/// # Errors
///
/// If any of that goes wrong.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let begun = Instant::now();
    step("building metal9", || {
        run::quietly("cargo build", &mut run::cargo(&["build", "--package", "metal9-cli"]))
    })?;
    let venv = step("preparing the SDK", Venv::ensure)?;

    let scratch = tempfile::Builder::new().prefix("metal9-demo-").tempdir()?;
    let work = scratch.path().join("project");
    copy_examples(&work)?;
    let path = search_path(&venv)?;
    let binary = crate::root().join("target/debug/metal9");
    let server =
        step("starting a gateway and a worker", || Server::start(&binary, scratch.path(), &path))?;

    let config = server.facts["config"].as_str().context("dev.json has no `config`")?.to_owned();
    println!("\n$ export CONFIG_PATH={config}\n$ python {}", arguments.example);
    let started = Instant::now();
    let status = venv
        .python()
        .arg(&arguments.example)
        .current_dir(&work)
        .env("CONFIG_PATH", &config)
        .env("PATH", &path)
        .stdin(Stdio::null())
        .status()
        .context("cannot start Python")?;
    println!();
    if !status.success() {
        bail!("{} ended with {status}; metal9 logged:\n{}", arguments.example, server.tail());
    }
    println!("ok  {} {:.1} s", arguments.example, started.elapsed().as_secs_f64());
    step("stopping", || server.stop())?;
    println!("the demo went well; it took {:.1} s in all", begun.elapsed().as_secs_f64());
    Ok(())
}

/// Does one step and says how long it took.
fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("    {what}");
    let started = Instant::now();
    let done = work().with_context(|| format!("{what} failed"))?;
    println!("ok  {what} {:.1} s", started.elapsed().as_secs_f64());
    Ok(done)
}

/// Copies `examples/`, because the SDK leaves a file in the directory it is run in.
fn copy_examples(to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(crate::root().join("examples")).context("cannot read examples/")? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// The search path with the environment's programs first: its uv need not be fetched again.
pub(crate) fn search_path(venv: &Venv) -> Result<String> {
    let rest = std::env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(venv.bin()).chain(std::env::split_paths(&rest));
    let joined = std::env::join_paths(all).context("PATH cannot be extended")?;
    joined.into_string().map_err(|path| anyhow::anyhow!("PATH is not UTF-8: {}", path.display()))
}
