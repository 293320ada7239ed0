//! What of the isolation works on this machine: tried, not guessed.

use std::path::{Path, PathBuf};

use super::{Isolation, JobPaths, Means, Network, RealMachine, file_rules};
use crate::darwin::darwin_file_rules;
use crate::{Launch, Limits, SHIM_COMMAND, SpawnError, spawn};

/// A limit that the supervisor is far below, in MiB: the kernel has to take it and nothing more.
const ROOMY_MIB: u64 = 512;

/// What to find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sought {
    /// Everything that isolates and limits jobs.
    Everything,
    /// What limits jobs that are not to be isolated.
    Limits,
}

/// Finds out what isolates and limits jobs here, by starting a supervisor that has nothing to do.
///
/// `directory` is one in which jobs get theirs.
///
/// # Errors
///
/// If the supervisor does not start even without isolation.
pub async fn probe(shim: &Path, directory: &Path, sought: Sought) -> Result<Means, SpawnError> {
    let mut means = hopes();
    if sought == Sought::Limits {
        means = Means { memory_limit: means.memory_limit, ..Means::default() };
        if means == Means::default() {
            return Ok(means);
        }
    }
    loop {
        let network = if means.network { Network::GatewayOnly } else { Network::Full };
        match attempt(shim, directory, means, network, false).await {
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

/// One kind of job, and why none can be started.
#[derive(Debug)]
pub struct Refused {
    /// What it may connect to.
    pub network: Network,
    /// Whether it uses the GPU of a Mac.
    pub gpu: bool,
    /// What went wrong.
    pub error: SpawnError,
}

/// Starts a supervisor that has nothing to do as every kind of job that `means` can isolate: how many
/// kinds there are, and those that cannot be started. On a Mac each has a profile of its own.
pub async fn probe_kinds(shim: &Path, directory: &Path, means: Means) -> (usize, Vec<Refused>) {
    let (mut count, mut refused) = (0, Vec::new());
    for (network, gpu) in kinds(means) {
        count += 1;
        if let Err(error) = attempt(shim, directory, means, network, gpu).await {
            refused.push(Refused { network, gpu, error });
        }
    }
    (count, refused)
}

/// The kinds of jobs whose isolation differs.
fn kinds(means: Means) -> Vec<(Network, bool)> {
    let networks: &[Network] = match means.network {
        true => &[Network::Full, Network::GatewayOnly, Network::None],
        false => &[Network::Full],
    };
    let gpus: &[bool] = if means.seatbelt { &[false, true] } else { &[false] };
    networks.iter().flat_map(|network| gpus.iter().map(|gpu| (*network, *gpu))).collect()
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

async fn attempt(
    shim: &Path,
    directory: &Path,
    means: Means,
    network: Network,
    gpu: bool,
) -> Result<(), SpawnError> {
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
    let memory_mib = means.memory_limit.then_some(ROOMY_MIB);
    let launch = Launch {
        program: shim.to_owned(),
        // Without a worker at its standard input it ends at once.
        args: vec![SHIM_COMMAND.into()],
        env: Vec::new(),
        cwd: directory.to_owned(),
        limits: Limits { memory_mib, ..Limits::default() },
        group: None,
        account: None,
        isolation: Some(Isolation { means, files, network, gpu }),
        container: None,
    };
    let process = spawn(shim, launch).await?;
    // It has been started, and that is all there is to know.
    let _ = process.kill().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_has_six_profiles_and_other_systems_a_kind_for_each_network() {
        assert_eq!(kinds(Means::darwin()).len(), 6);
        let linux = kinds(Means::all(7, true));
        assert_eq!(linux.len(), 3);
        assert!(linux.iter().all(|(_, gpu)| !gpu));
        assert_eq!(kinds(Means::default()), [(Network::Full, false)]);
    }
}
