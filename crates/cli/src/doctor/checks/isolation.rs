//! What keeps jobs to themselves, and to their memory.

use metal9_sandbox::Means;

use super::containers;
use crate::doctor::facts::WorkerFacts;
use crate::report::Check;

pub(super) fn checks(worker: &WorkerFacts, is_mac: bool) -> Vec<Check> {
    let mut checks = match &worker.containers {
        Some(containers) => containers::checks(containers, worker.isolation == "required"),
        None => vec![isolation(worker)],
    };
    if let (Ok(means), None) = (&worker.means, &worker.containers) {
        checks.push(kinds(worker));
        if is_mac {
            checks.push(memory_limit(*means));
        }
    }
    if !is_mac {
        checks.push(cgroups(&worker.cgroups));
    }
    checks
}

/// Whether every kind of job can be started: on a Mac each has a profile of its own.
fn kinds(worker: &WorkerFacts) -> Check {
    let name = "kinds of jobs";
    if worker.refused.is_empty() {
        return Check::ok(
            name,
            format!("all {} can be started as they are isolated", worker.kinds),
        );
    }
    let (count, all) = (worker.refused.len(), worker.kinds);
    let found = format!("{count} of {all} cannot be started: {}", worker.refused.join("; "));
    Check::fail(name, found)
        .fix("what was denied is in the system's log; report it, with this line")
}

fn memory_limit(means: Means) -> Check {
    let name = "memory limit";
    if means.memory_limit {
        return Check::ok(name, "the kernel takes one with each program");
    }
    Check::warn(name, "the kernel takes none: memory is looked at from time to time")
        .fix("leave memory to the machine with `memory_mib` in [worker] of the configuration file")
}

fn isolation(worker: &WorkerFacts) -> Check {
    let name = "isolation";
    let means = match &worker.means {
        Ok(means) => *means,
        Err(reason) => return Check::fail(name, format!("it could not be tried: {reason}")),
    };
    if worker.isolation == "off" {
        return Check::warn(name, "switched off: jobs may do whatever this user may")
            .fix("remove `isolation` from [worker] in the configuration file");
    }
    let gaps = means.gaps().join("; ");
    if !means.isolate() {
        let none = "nothing on this machine isolates jobs";
        let check = match worker.isolation.as_str() {
            "required" => Check::fail(name, format!("{none}, and it is required")),
            _ => Check::warn(name, none),
        };
        return check.fix("run only what you would run yourself; see docs/security.md");
    }
    if gaps.is_empty() {
        return Check::ok(name, means.to_string());
    }
    let found = format!("{means}; missing: {gaps}");
    let check = match worker.isolation.as_str() {
        "required" => Check::fail(name, found),
        _ => Check::warn(name, found),
    };
    check.fix("docs/security.md says what each part protects and which kernels have it")
}

fn cgroups(held: &[String]) -> Check {
    if held.is_empty() {
        return Check::warn("cgroups", "none for us: memory is looked at from time to time")
            .fix("let systemd run the worker, which gives it some: `metal9 worker install`");
    }
    Check::ok("cgroups", held.join(", "))
}
