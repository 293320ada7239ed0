//! `cargo xtask sim`: simulated fleets with faults.

use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::run;

/// The options of a simulation.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// What everything is drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seeds to run, one after another
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Workers in the fleet
    #[arg(long, default_value_t = 1000)]
    workers: u64,
    /// Tasks that clients hand in
    #[arg(long, default_value_t = 100_000)]
    tasks: u64,
    /// Handed on to `metal9-sim`, as `--script FILE`
    #[arg(last = true)]
    rest: Vec<String>,
}

/// Builds the simulation for release and runs it.
///
/// # Errors
///
/// If it cannot be built, or a rule is broken: the shrunk script is on stdout then.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    run::quietly(
        "cargo build --release",
        &mut run::cargo(&["build", "--release", "--package", "metal9-sim"]),
    )?;
    let mut simulation = run::cargo(&["run", "--quiet", "--release", "--package", "metal9-sim"]);
    simulation.arg("--");
    if arguments.rest.is_empty() {
        let Arguments { seed, seeds, workers, tasks, .. } = arguments;
        simulation.args([
            format!("--seed={seed}"),
            format!("--seeds={seeds}"),
            format!("--workers={workers}"),
            format!("--tasks={tasks}"),
        ]);
    }
    let began = Instant::now();
    let status = simulation.args(&arguments.rest).status().context("cannot start cargo")?;
    println!("took {:.1} s", began.elapsed().as_secs_f64());
    if !status.success() {
        bail!("the simulation ended with {status}");
    }
    Ok(())
}
