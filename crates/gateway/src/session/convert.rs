//! Worker messages become checked types at the door.

use crate::options::Options;
use crate::validate::{resources, shown};
use metal9_core::{Reattach, WorkerHello};
use metal9_proto::worker as wire;
use metal9_store::WorkerRow;
use metal9_types::{
    AttemptId, CallOutcome, Condition, ContainerId, Failure, FailureKind, Offer, Phase, Platform,
    Resources, RootSource, Runtime, SessionId, WorkerId,
};

pub(super) mod machine;

/// A failure kind's name on the wire.
pub(crate) fn failure_kind_name(kind: FailureKind) -> String {
    match serde_json::to_value(kind) {
        Ok(serde_json::Value::String(name)) => name,
        _ => "internal".to_owned(),
    }
}

/// Reads a failure; a kind this version does not know counts as internal.
pub(super) fn outcome(failure: Option<wire::AttemptFailure>) -> CallOutcome {
    let Some(failure) = failure else { return CallOutcome::Returned };
    let kind = serde_json::from_value(serde_json::Value::String(failure.kind))
        .unwrap_or(FailureKind::Internal);
    CallOutcome::Failed(Failure::new(kind, failure.message).with_exit_code(failure.exit_code))
}

pub(super) fn phases(phases: Vec<wire::PhaseTime>) -> Vec<Phase> {
    phases.into_iter().map(|p| Phase { name: p.name, micros: p.micros }).collect()
}

/// Reads what a worker offers. Its pool is the one it joined, whatever it says.
/// Simulated devices and machines are refused unless the options allow them, and so is whoever isolates
/// its jobs by less than its pool demands.
pub(super) fn offer(
    hello: &wire::Hello,
    worker: &WorkerRow,
    options: &Options,
) -> Result<Offer, String> {
    absurd(hello)?;
    let devices = hello.devices.iter().map(machine::device).collect::<Result<Vec<_>, _>>()?;
    let machine = machine::machine(hello.machine.clone().unwrap_or_default())?;
    if !options.allow_simulated_devices
        && (machine.simulated || devices.iter().any(|device| device.simulated))
    {
        return Err(machine::SIMULATED.to_owned());
    }
    let runtimes: Vec<_> = hello.runtimes.iter().filter_map(|name| Runtime::named(name)).collect();
    if options.is_untrusted(&worker.pool) && runtimes != [Runtime::Runsc] {
        return Err(trusting(&worker.pool, &hello.runtimes));
    }
    if options.is_untrusted(&worker.pool) && !hello.own_networks {
        return Err(open(&worker.pool));
    }
    Ok(Offer {
        hostname: hello.hostname.clone(),
        pool: worker.pool.clone(),
        platform: hello.platform.parse::<Platform>()?,
        capacity: Resources { cpu_millicores: hello.cpu_millicores, memory_mib: hello.memory_mib },
        machine,
        devices,
        on_battery: machine::on_battery(&hello.on_battery)?,
        runtimes,
        root: RootSource::named(&hello.root_source),
        allow_lists: hello.allow_lists,
        pythons: hello.pythons.clone(),
        labels: hello.labels.clone().into_iter().collect(),
        version: hello.metal9_version.clone(),
    })
}

/// Entries of any list in Hello: more than any machine has, and few enough to look through.
const MAX_LISTED: usize = 100_000;
/// Characters of what ended an earlier run: a sentence and a path.
const MAX_INTERRUPTION: usize = 1024;
/// Runtimes, Python versions and labels of one worker.
const MAX_FEW: usize = 1000;
/// Accelerators of one worker: more than any machine has.
const MAX_DEVICES: usize = 64;

/// Refuses what no machine has. The scheduler adds such numbers up, and people read them.
fn absurd(hello: &wire::Hello) -> Result<(), String> {
    let most = |limit: i64| u64::try_from(limit).unwrap_or(u64::MAX);
    let numbers = [
        ("millicores", hello.cpu_millicores, most(resources::MAX_MILLICORES)),
        ("MiB of memory", hello.memory_mib, most(resources::MAX_MEMORY_MIB)),
    ];
    for (what, found, limit) in numbers {
        if found > limit {
            return Err(format!("a worker cannot have {found} {what} (limit {limit})"));
        }
    }
    let lists = [
        ("devices", hello.devices.len(), MAX_DEVICES),
        ("runtimes", hello.runtimes.len(), MAX_FEW),
        ("Python versions", hello.pythons.len(), MAX_FEW),
        ("labels", hello.labels.len(), MAX_FEW),
        ("cached environments", hello.cached_environments.len(), MAX_LISTED),
        ("cached objects", hello.cached_objects.len(), MAX_LISTED),
        ("attempts", hello.attempts.len(), MAX_LISTED),
        ("containers", hello.containers.len(), MAX_LISTED),
    ];
    for (what, found, limit) in lists {
        if found > limit {
            return Err(format!("a worker cannot have {found} {what} (limit {limit})"));
        }
    }
    Ok(())
}

fn trusting(pool: &str, runtimes: &[String]) -> String {
    format!(
        "pool \"{pool}\" is for code that nobody trusts and takes workers with runtime \"runsc\" only; \
         this one has {}\nhint: set `worker.runtime` to \"runsc\" there, or join another pool",
        shown(&runtimes.join(", "))
    )
}

fn open(pool: &str) -> String {
    format!(
        "pool \"{pool}\" is for code that nobody trusts, and containers of this worker have no networks of \
         their own, so that jobs would reach the ports of its machine\nhint: `metal9 doctor`, as root on \
         that machine, says what is missing for them; or join another pool"
    )
}

pub(super) fn worker_hello(
    hello: wire::Hello,
    offer: Offer,
    condition: &Condition,
    worker: WorkerId,
    session: SessionId,
) -> Result<WorkerHello, String> {
    let attempts = hello
        .attempts
        .iter()
        .map(|running| {
            Ok(Reattach {
                attempt: AttemptId(running.attempt_id),
                task: running.task_id.parse()?,
                container: ContainerId(running.container_id),
            })
        })
        .collect::<Result<_, metal9_types::IdError>>()
        .map_err(|error| error.to_string())?;
    let containers = hello
        .containers
        .iter()
        .map(|live| Ok((ContainerId(live.container_id), live.stub_id.parse()?)))
        .collect::<Result<_, metal9_types::IdError>>()
        .map_err(|error| error.to_string())?;
    let devices = hello
        .containers
        .iter()
        .filter(|live| !live.devices.is_empty())
        .map(|live| {
            let places = machine::places(&live.devices, offer.devices.len())?;
            Ok((ContainerId(live.container_id), places))
        })
        .collect::<Result<_, String>>()?;
    let mut cached = hello.cached_environments;
    cached.extend(hello.cached_objects);
    let interruption = hello.interruption.chars().take(MAX_INTERRUPTION).collect();
    let (thermal, power) = (condition.thermal, condition.power);
    Ok(WorkerHello {
        process: hello.process,
        worker,
        session,
        offer,
        attempts,
        containers,
        devices,
        thermal,
        power,
        cached,
        interruption,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_kinds_keep_their_names_both_ways() {
        for kind in [FailureKind::WorkerLost, FailureKind::Memory, FailureKind::ResultTooLarge] {
            let failure = wire::AttemptFailure {
                kind: failure_kind_name(kind),
                message: "m".into(),
                exit_code: 9,
            };
            let CallOutcome::Failed(read) = outcome(Some(failure)) else {
                panic!("a failure was read as success")
            };
            assert_eq!((read.kind, read.exit_code), (kind, 9));
        }
    }

    #[test]
    fn an_unknown_failure_kind_counts_as_internal() {
        let failure =
            wire::AttemptFailure { kind: "gremlins".into(), message: "m".into(), exit_code: 0 };
        let expected = Failure::new(FailureKind::Internal, "m");
        assert_eq!(outcome(Some(failure)), CallOutcome::Failed(expected));
    }
}
