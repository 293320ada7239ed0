//! Debian packages, where this machine has apt and we may use it.

use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::Result;

use crate::run;

static ALONE: Mutex<()> = Mutex::new(());

/// Installs Debian packages; `false` if this machine or this user cannot.
///
/// # Errors
///
/// If apt is there, may be used, and fails.
pub(crate) fn install(packages: &[&str]) -> Result<bool> {
    let has_apt = run::output(Command::new("apt-get").arg("--version")).is_some();
    if !has_apt || !nix::unistd::geteuid().is_root() {
        return Ok(false);
    }
    // It lets nobody else in while it works.
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    println!("installing {} with apt-get", packages.join(" "));
    run::quietly("apt-get update", apt().arg("update"))?;
    let mut install = apt();
    install.args(["install", "--yes", "--no-install-recommends"]);
    run::quietly("apt-get install", install.args(packages))?;
    Ok(true)
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}
