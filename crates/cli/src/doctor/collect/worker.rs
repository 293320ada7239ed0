//! What a worker needs.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use metal9_juicefs::Role;
use metal9_sandbox::{Layout, Means, RuntimeError, Sought, probe, probe_kinds};
use metal9_service::{lingers, plans};
use metal9_types::Runtime;
use metal9_worker::{CheckError, Containers, IdentityError, OciError};
use nix::unistd::{AccessFlags, access};

use super::{disk, nearest};
use crate::commands::worker::service;
use crate::doctor::facts::{Answer, Membership, NoContainers, Programs, ServiceFacts, WorkerFacts};
use crate::failure::Failure;
use crate::settings::WorkerSettings;

pub(super) async fn look(
    settings: &WorkerSettings,
    juicefs: &metal9_juicefs::Settings,
) -> Result<WorkerFacts, Failure> {
    let state = std::path::absolute(&settings.state_dir).map_err(Failure::usage)?;
    let tried = tried(&state).await;
    let (means, kinds, refused, unseen) = match tried {
        Ok(Tried { means, kinds, refused, unseen }) => (Ok(means), kinds, refused, unseen),
        Err(error) => (Err(format!("{error:#}")), 0, Vec::new(), None),
    };
    Ok(WorkerFacts {
        programs: programs(settings, &state).await,
        means,
        kinds,
        refused,
        unseen,
        containers: containers(settings, &state).await,
        isolation: settings.isolation.clone(),
        cgroups: cgroups(),
        membership: membership(settings, &state).await,
        service: service_facts(&state, settings.runtime != "native")?,
        juicefs: metal9_juicefs::obstacle(juicefs.program.as_deref(), Role::Guest),
        state: disk::look(&state),
    })
}

async fn programs(settings: &WorkerSettings, state: &Path) -> Result<Programs, String> {
    let found = metal9_env::survey(&state.join("env"), settings.uv.as_deref()).await;
    let found = found.map_err(|error| error.to_string())?;
    Ok(Programs {
        uv: found.uv,
        pythons: found.pythons,
        restarting: found.restarting,
        python: found.python,
    })
}

/// What came of starting processes that have nothing to do as jobs are.
struct Tried {
    means: Means,
    kinds: usize,
    refused: Vec<String>,
    unseen: Option<String>,
}

async fn tried(state: &Path) -> anyhow::Result<Tried> {
    let shim = std::env::current_exe().context("cannot find this program's own file")?;
    let directory = tempfile::Builder::new().prefix("doctor-").tempdir_in(nearest(state))?;
    let means = probe(&shim, directory.path(), Sought::Everything).await?;
    let (kinds, refused) = probe_kinds(&shim, directory.path(), means).await;
    let refused = refused.iter().map(|refused| {
        let gpu = if refused.gpu { " and a GPU" } else { "" };
        format!("network `{}`{gpu}: {}", refused.network, chain(&refused.error))
    });
    let unseen = match cfg!(target_os = "macos") {
        true => metal9_worker::gpu_obstacle(&shim, directory.path(), means).await,
        false => None,
    };
    Ok(Tried { means, kinds, refused: refused.collect(), unseen })
}

/// What came of starting a container, if there are to be any.
async fn containers(
    settings: &WorkerSettings,
    state: &Path,
) -> Option<Result<Containers, NoContainers>> {
    let runtime = Runtime::named(&settings.runtime).filter(|it| *it != Runtime::Native)?;
    let failed = |why: String, is_missing: bool| {
        let (runtime, is_root) = (settings.runtime.clone(), nix::unistd::geteuid().is_root());
        Some(Err(NoContainers { runtime, why, is_missing, is_root }))
    };
    let shim = std::env::current_exe();
    let directory = tempfile::Builder::new().prefix("doctor-").tempdir_in(nearest(state));
    let (shim, directory) = match (shim, directory) {
        (Ok(shim), Ok(directory)) => (shim, directory),
        (Err(error), _) | (_, Err(error)) => return failed(error.to_string(), false),
    };
    match metal9_worker::containers(runtime, &shim, directory.path()).await {
        Ok(found) => found.map(Ok),
        Err(error) => {
            failed(chain(&error), matches!(error, OciError::Runtime(RuntimeError::Missing(_))))
        }
    }
}

/// The controllers of cgroups that this process may use. The service may have more.
fn cgroups() -> Vec<String> {
    let read = |file| std::fs::read_to_string(file).unwrap_or_default();
    let layout = Layout::read(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"));
    let ours = |directory: &Path| access(directory, AccessFlags::W_OK).is_ok();
    let mut held = Vec::new();
    for (_, controllers) in layout.v1.iter().filter(|(directory, _)| ours(directory)) {
        held.extend(controllers.iter().map(|it| format!("{} v1", it.name())));
    }
    if let Some(own) = layout.v2.filter(|own| ours(own)) {
        let offered = std::fs::read_to_string(own.join("cgroup.controllers")).unwrap_or_default();
        let offered = offered.split_ascii_whitespace();
        let of_use = offered.filter(|name| ["memory", "pids", "cpu"].contains(name));
        held.extend(of_use.map(|name| format!("{name} v2")));
    }
    held
}

async fn membership(settings: &WorkerSettings, state: &Path) -> Membership {
    let joined = match metal9_worker::joined(state) {
        Ok(joined) => joined,
        Err(IdentityError::NotJoined(_)) => return Membership::None,
        Err(error) => return Membership::Unreadable(chain(&error)),
    };
    let gateway = match settings.gateway.as_str() {
        "" => joined.gateway.clone(),
        other => other.to_owned(),
    };
    let answer = match metal9_worker::check(state, &settings.gateway).await {
        Ok(answer) => {
            let took_ms = answer.took.as_millis();
            Answer::Known { took_ms, clock_ahead: answer.clock_ahead }
        }
        Err(CheckError::Refused(reason)) => Answer::Refused(reason),
        Err(error) => {
            let fix = match &error {
                CheckError::NotTrusted { source, .. } => source.hint().map(str::to_owned),
                _ => None,
            };
            Answer::Failed(chain(&error), fix)
        }
    };
    let is_private = joined.fingerprint.is_some() || gateway.starts_with("https://");
    Membership::Joined { pool: joined.pool, gateway, is_private, answer }
}

fn service_facts(state: &Path, makes_containers: bool) -> Result<ServiceFacts, Failure> {
    let place = service::find()?;
    let installed = place.file().exists();
    let standing = if installed { service::standing(&place).ok() } else { None };
    let asked = plans::linger(&place).filter(|_| installed);
    let answer = asked.and_then(|words| Command::new(&words[0]).args(&words[1..]).output().ok());
    let lingers = answer.and_then(|answer| lingers(&String::from_utf8_lossy(&answer.stdout)));
    Ok(ServiceFacts {
        manager: place.manager,
        scope: place.scope,
        installed,
        is_narrow: makes_containers
            && std::fs::read_to_string(place.file())
                .is_ok_and(|unit| !metal9_service::suits_containers(&unit)),
        standing,
        lingers,
        account: place.account.name,
        holder: holder(state),
    })
}

/// The process that has locked the state directory.
fn holder(state: &Path) -> Option<String> {
    let file = std::fs::File::options().read(true).open(state.join("worker.lock")).ok()?;
    // Ours for a moment, if nobody has it.
    match file.try_lock_shared() {
        Err(std::fs::TryLockError::WouldBlock) => {
            let pid = std::io::read_to_string(file).unwrap_or_default();
            Some(format!("process {}", pid.trim()))
        }
        _ => None,
    }
}

/// An error with its causes, in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
