//! What of the isolation works on this machine: tried, not guessed.

use std::path::{Path, PathBuf};

use super::{Isolation, JobPaths, Means, Network, RealMachine, file_rules};
use crate::darwin::darwin_file_rules;
use crate::{Launch, Limits, SHIM_COMMAND, SpawnError, spawn};

/// Finds out what isolates jobs here, by isolating a supervisor that has nothing to do.
///
/// `directory` is one in which jobs get theirs.
///
/// # Errors
///
/// If the supervisor does not start even without isolation.
pub async fn probe(shim: &Path, directory: &Path) -> Result<Means, SpawnError> {
    let mut means = hopes();
    loop {
        match attempt(shim, directory, means).await {
            Ok(()) => return Ok(means),
            Err(error) => {
                let SpawnError::Isolation { step, source, .. } = &error else { return Err(error) };
                tracing::debug!(%step, error = %source, "not on this machine");
                match means.without(*step) {
                    Some(less) => means = less,
                    None => return Err(error),
                }
            }
        }
    }
}

#[cfg(target_os = "linux")]
fn hopes() -> Means {
    let filtered = matches!(std::env::consts::ARCH, "x86_64" | "aarch64");
    let root = nix::unistd::geteuid().is_root();
    let means = Means::all(crate::shim::landlock_version(), root);
    Means { seccomp: filtered, ..means }
}

#[cfg(not(target_os = "linux"))]
fn hopes() -> Means {
    Means::darwin()
}

async fn attempt(shim: &Path, directory: &Path, means: Means) -> Result<(), SpawnError> {
    let own = directory.to_owned();
    let job = JobPaths {
        programs: vec![shim.to_owned()],
        python: PathBuf::from("/usr/bin/python3"),
        temporary: own.clone(),
        own,
        ..JobPaths::default()
    };
    let files = if means.seatbelt {
        darwin_file_rules(&RealMachine, &job, Path::new("/var/root"))
    } else {
        file_rules(&RealMachine, &job)
    };
    let network = if means.network { Network::GatewayOnly } else { Network::Full };
    let launch = Launch {
        program: shim.to_owned(),
        // Without a worker at its standard input it ends at once.
        args: vec![SHIM_COMMAND.into()],
        env: Vec::new(),
        cwd: directory.to_owned(),
        limits: Limits::default(),
        group: None,
        account: None,
        isolation: Some(Isolation { means, files, network, gpu: false }),
    };
    let process = spawn(shim, launch).await?;
    // It has been started, and that is all there is to know.
    let _ = process.kill().await;
    Ok(())
}
