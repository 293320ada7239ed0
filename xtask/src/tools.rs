//! Cargo tools that the chores need, kept in `target/tools` unless the machine has them.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::{pins, run};

/// The path of cargo-deny, which is built if there is none of the pinned version.
///
/// # Errors
///
/// If it cannot be built.
pub(crate) fn cargo_deny() -> Result<PathBuf> {
    cargo_tool("cargo-deny", pins::CARGO_DENY)
}

/// The path of cargo-fuzz, which is built if there is none of the pinned version.
///
/// # Errors
///
/// If it cannot be built.
pub(crate) fn cargo_fuzz() -> Result<PathBuf> {
    cargo_tool("cargo-fuzz", pins::CARGO_FUZZ)
}

fn cargo_tool(name: &str, wanted: &str) -> Result<PathBuf> {
    let ours = crate::root().join("target/tools");
    let built = ours.join("bin").join(name);
    for program in [PathBuf::from(name), built.clone()] {
        let version = run::output(Command::new(&program).arg("--version")).unwrap_or_default();
        if version.split_whitespace().any(|word| word == wanted) {
            return Ok(program);
        }
    }
    println!("building {name} {wanted}; the first time takes minutes");
    // The machine has better to do meanwhile.
    let mut install = run::cargo(&["install", name, "--locked", "--version", wanted]);
    install.arg("--root").arg(&ours);
    // A tool that runs for a second is not worth minutes of optimising.
    install.args(["--profile", "dev", "--config", "profile.dev.debug=false"]);
    run::quietly(&format!("cargo install {name}"), &mut run::nicely(&install))?;
    Ok(built)
}
