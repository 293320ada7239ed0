//! `cargo xtask fuzz`: hostile input for what reads other people's bytes, for a bounded time.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{apt, run, tools};

/// What is fuzzed: the programs of `fuzz/fuzz_targets`.
const TARGETS: [&str; 3] = ["code_archive", "runner_frames", "worker_stream"];

/// The longest input, in bytes.
const MAX_LENGTH: u32 = 2 * 1024;

/// The options of a fuzzing run.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How long each target runs
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Only these, separated by commas
    #[arg(long, value_delimiter = ',', value_parser = clap::builder::PossibleValuesParser::new(TARGETS))]
    only: Vec<String>,
}

/// Builds the targets and runs them one after another. Inputs that were interesting stay in
/// `fuzz/corpus`, those that failed in `fuzz/artifacts`.
///
/// # Errors
///
/// If a target cannot be built, or an input made one fail.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if run::output(Command::new("c++").arg("--version")).is_none() && !apt::install(&["g++"])? {
        bail!("the fuzzer needs a C++ compiler (hint: install g++)");
    }
    let fuzz = tools::cargo_fuzz()?;
    let wanted = |target: &str| {
        arguments.only.is_empty() || arguments.only.iter().any(|only| only == target)
    };
    run::quietly("building the fuzz targets", command(&fuzz, "build").args(SANITIZER))?;
    let mut failed = Vec::new();
    for target in TARGETS.into_iter().filter(|target| wanted(target)) {
        println!("    {target}, {} s", arguments.seconds);
        let status = command(&fuzz, "run")
            .args(SANITIZER)
            .args([target, "--"])
            .arg(format!("-max_total_time={}", arguments.seconds))
            .arg(format!("-max_len={MAX_LENGTH}"))
            // Short inputs say too little: without this the first minutes see nothing else.
            .arg("-len_control=0")
            .args(["-timeout=60", "-rss_limit_mb=2048", "-print_final_stats=1"])
            .status()
            .context("cannot start cargo-fuzz")?;
        if !status.success() {
            failed.push(target);
        }
    }
    if failed.is_empty() {
        println!("nothing failed");
        return Ok(());
    }
    bail!("an input made {} fail; it is in fuzz/artifacts", failed.join(", "))
}

/// The sanitizers need a nightly compiler; coverage and the checks of safe Rust do not.
const SANITIZER: [&str; 2] = ["--sanitizer", "none"];

fn command(fuzz: &Path, verb: &str) -> Command {
    let mut command = Command::new(fuzz);
    command.arg(verb).current_dir(crate::root());
    command
}
