//! The machine itself.

use metal9_types::Thermal;

use crate::doctor::facts::Facts;
use crate::report::Check;

/// The oldest macOS that metal9 is made for.
const OLDEST_MACOS: u32 = 14;

/// Fewer open files than this are too few for a worker with many jobs, or a gateway.
const OPEN_FILES: u64 = 4096;

pub(super) fn checks(facts: &Facts) -> Vec<Check> {
    let machine = &facts.machine;
    let found =
        format!("metal9 {} on {}, {}", machine.metal9, machine.system, machine.architecture);
    let mut checks = vec![Check::ok("machine", found)];
    if facts.is_mac {
        checks.push(processor(&machine.architecture, &machine.processor));
        checks.push(version(&facts.version));
    }
    checks.push(gpu(facts));
    checks.extend(facts.machine.thermal.map(heat));
    checks.extend(facts.open_files.map(|(now, most)| open_files(now, most)));
    checks
}

fn processor(architecture: &str, name: &str) -> Check {
    if architecture == "aarch64" {
        return Check::ok("processor", name);
    }
    // This is what the program was built for: on Apple Silicon it is being translated.
    Check::fail("processor", "this metal9 is built for Intel: no GPU can be used")
        .fix("install the one for Apple Silicon (aarch64); see docs/mac.md")
}

/// A Mac is here for its GPU; other machines may have none.
fn gpu(facts: &Facts) -> Check {
    let (gpus, notes) = (&facts.machine.gpus, facts.machine.notes.join("; "));
    if let Some(reason) = facts.worker.unseen.as_ref().filter(|_| !gpus.is_empty()) {
        let found = format!("{}, but jobs do not see it: {reason}", gpus.join(", "));
        return Check::fail("gpu", found).fix(
            "the worker offers none until its jobs see it; `metal9 selftest --gpu` says more",
        );
    }
    if !gpus.is_empty() {
        return Check::ok("gpu", gpus.join(", "));
    }
    let why = if notes.is_empty() { String::new() } else { format!(": {notes}") };
    if facts.is_mac {
        return Check::fail("gpu", format!("none that jobs can use{why}"))
            .fix("`metal9 devices --json` prints everything that was seen; see docs/devices.md");
    }
    Check::ok("gpu", format!("none; jobs run on the processor{why}"))
}

fn heat(thermal: Thermal) -> Check {
    let name = "heat";
    match thermal {
        Thermal::Nominal => Check::ok(name, "normal"),
        Thermal::Moderate => Check::ok(name, "warm; background work is held back"),
        Thermal::Heavy | Thermal::Trapping | Thermal::Sleeping => {
            Check::warn(name, "so hot that everything is slowed down")
                .fix("give it air, or less to do at a time")
        }
    }
}

fn version(version: &str) -> Check {
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    match major {
        Some(major) if major >= OLDEST_MACOS => Check::ok("macos", version),
        Some(_) => Check::fail("macos", format!("{version} is older than {OLDEST_MACOS}"))
            .fix("update macOS: the packages for Apple GPUs are made for newer ones"),
        None => Check::warn("macos", "the version could not be found out"),
    }
}

fn open_files(now: u64, most: u64) -> Check {
    let limit =
        |files: u64| if files > 1 << 40 { "any number".to_owned() } else { files.to_string() };
    let found = format!("{} now, {} at most", limit(now), limit(most));
    if most < OPEN_FILES {
        return Check::warn("open files", found).fix(format!(
            "let this user open {OPEN_FILES}: `ulimit -n`, or /etc/security/limits.conf"
        ));
    }
    Check::ok("open files", found)
}
