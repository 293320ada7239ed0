//! The project's own chores: `cargo xtask demo`, `test`, `check-darwin`, `dist`, `fuzz`,
//! `chaos`, `sim`, `bench` and `tidy`.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "talking to a person is its job")]

mod apt;
mod bench;
mod chaos;
mod darwin;
mod demo;
mod dist;
mod fuzz;
mod pins;
mod python;
mod run;
mod sdks;
mod server;
mod sim;
mod test;
mod tidy;
mod tools;

use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "The project's own chores")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Start a gateway and a worker, run the quickstart against them, and stop them
    Demo(demo::Arguments),
    /// Install what the tests need and run all of them
    Test(test::Arguments),
    /// Compile everything for Macs and link the program, on Linux
    CheckDarwin,
    /// Build what is released, as `install.sh` fetches it
    Dist(dist::Arguments),
    /// Feed hostile input to what reads other people's bytes, for a bounded time
    Fuzz(fuzz::Arguments),
    /// Run under load and random faults, and check every call
    Chaos(chaos::Arguments),
    /// Measure a release build
    Bench(bench::Arguments),
    /// Run simulated fleets with faults, each from one seed, in virtual time
    Sim(sim::Arguments),
    /// Check the rules that the compiler does not know
    Tidy,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().chore {
        Chore::Demo(arguments) => demo::run(&arguments),
        Chore::Test(arguments) => test::run(&arguments),
        Chore::CheckDarwin => darwin::run(),
        Chore::Dist(arguments) => dist::run(&arguments),
        Chore::Fuzz(arguments) => fuzz::run(&arguments),
        Chore::Chaos(arguments) => chaos::run(&arguments),
        Chore::Bench(arguments) => bench::run(&arguments),
        Chore::Sim(arguments) => sim::run(&arguments),
        Chore::Tidy => tidy::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("  caused by: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}

/// The top of the repository.
fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}
