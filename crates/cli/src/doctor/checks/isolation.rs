//! What keeps jobs to themselves, and to their memory.

use metal9_sandbox::Means;

use crate::doctor::facts::WorkerFacts;
use crate::report::Check;

pub(super) fn checks(worker: &WorkerFacts, is_mac: bool) -> Vec<Check> {
    let mut checks = vec![isolation(worker)];
    if !is_mac {
        checks.push(cgroups(&worker.cgroups));
    }
    checks
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
    if means == Means::default() {
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
