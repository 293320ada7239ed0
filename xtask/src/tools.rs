//! Cargo tools that the tests need, kept in `target/tools` unless the machine has them.

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
    let ours = crate::root().join("target/tools");
    let built = ours.join("bin/cargo-deny");
    for program in [PathBuf::from("cargo-deny"), built.clone()] {
        let version = run::output(Command::new(&program).arg("--version")).unwrap_or_default();
        if version.split_whitespace().any(|word| word == pins::CARGO_DENY) {
            return Ok(program);
        }
    }
    println!("building cargo-deny {}; the first time takes minutes", pins::CARGO_DENY);
    let mut install = run::cargo(&["install", "cargo-deny", "--locked", "--version"]);
    install.arg(pins::CARGO_DENY).arg("--root").arg(&ours);
    // A tool that runs for a second is not worth minutes of optimising.
    install.args(["--profile", "dev", "--config", "profile.dev.debug=false"]);
    run::quietly("cargo install cargo-deny", &mut install)?;
    Ok(built)
}
