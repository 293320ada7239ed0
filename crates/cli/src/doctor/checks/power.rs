//! When a Mac sleeps, and what it does after a power failure.

use metal9_service::Scope;

use crate::doctor::facts::{Power, ServiceFacts};
use crate::report::Check;

pub(super) fn checks(power: &Power, service: &ServiceFacts) -> Vec<Check> {
    let mut checks = vec![source(power), sleep(power)];
    // A laptop has its battery for that.
    if let (false, Some(autorestart)) = (power.has_battery, power.autorestart) {
        checks.push(match autorestart {
            true => Check::ok("power failure", "it starts again by itself"),
            false => Check::warn("power failure", "it stays off after one")
                .fix("`sudo pmset -a autorestart 1`"),
        });
    }
    checks.extend(power.filevault.map(|on| filevault(on, service)));
    checks
}

fn source(power: &Power) -> Check {
    match (power.has_battery, power.on_battery) {
        (_, true) => Check::warn("power", "on battery").fix("plug it in before long jobs"),
        (true, false) => Check::ok("power", "plugged in"),
        (false, false) => Check::ok("power", "mains"),
    }
}

fn sleep(power: &Power) -> Check {
    let name = "sleep";
    match power.sleep {
        Some(0) => Check::ok(name, "never on mains power"),
        // While jobs run the worker keeps it awake; between them, nobody can wake it.
        Some(minutes) if !power.has_battery => Check::warn(
            name,
            format!("it sleeps after {minutes} min without use, and takes no jobs"),
        )
        .fix("`sudo pmset -a sleep 0 disksleep 0`"),
        Some(minutes) => Check::ok(
            name,
            format!(
                "after {minutes} min without use or when its lid is closed; not while jobs run"
            ),
        ),
        None => Check::warn(name, "could not be found out").fix("see `pmset -g custom`"),
    }
}

fn filevault(on: bool, service: &ServiceFacts) -> Check {
    let name = "filevault";
    match (on, service.scope, service.installed) {
        (false, ..) => Check::ok(name, "off"),
        (true, Scope::System, true) => Check::warn(
            name,
            "on: after a power failure the worker starts only once somebody has unlocked the disk",
        )
        .fix(
            "restart with `sudo fdesetup authrestart`; see docs/mac.md for machines nobody sits at",
        ),
        (true, ..) => Check::ok(name, "on"),
    }
}
