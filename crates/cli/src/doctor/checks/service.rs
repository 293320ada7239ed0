//! Whether the worker starts by itself.

use metal9_service::{Manager, Scope, Standing};

use crate::doctor::facts::ServiceFacts;
use crate::report::Check;

pub(super) fn checks(service: &ServiceFacts) -> Vec<Check> {
    let mut checks = vec![installed(service)];
    let standing = service.standing.as_ref().filter(|_| service.installed);
    checks.extend(standing.and_then(|standing| speed(service, standing)));
    checks.extend(service.is_narrow.then(unit));
    checks.extend(boot(service));
    checks
}

/// What the service is called where its user would look for it.
fn kind(service: &ServiceFacts) -> &'static str {
    match (service.manager, service.scope) {
        (Manager::Launchd, Scope::System) => "LaunchDaemon",
        (Manager::Launchd, Scope::User) => "LaunchAgent",
        (Manager::Systemd, Scope::System) => "system unit",
        (Manager::Systemd, Scope::User) => "user unit",
    }
}

fn installed(service: &ServiceFacts) -> Check {
    let (name, kind) = ("service", kind(service));
    if !service.installed {
        let fix = "`metal9 worker install` lets it start by itself";
        return match &service.holder {
            Some(holder) => Check::warn(name, format!("none; {holder} runs the worker")).fix(fix),
            None => Check::warn(name, "none: the worker runs only while somebody runs it").fix(fix),
        };
    }
    let Some(standing) = &service.standing else {
        return Check::warn(name, format!("a {kind} is written, but its manager does not answer"))
            .fix("let whatever starts programs on this machine run `metal9 worker run`");
    };
    if standing.running {
        let pid = standing.pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
        return Check::ok(name, format!("a {kind}; it runs{pid}"));
    }
    let exit = standing.last_exit.as_ref().map(|code| format!(", last exit code {code}"));
    let found = format!("a {kind} that is {}{}", standing.state, exit.unwrap_or_default());
    Check::fail(name, found).fix("see `metal9 worker logs`; start it with `metal9 worker start`")
}

/// launchd slows down what is not interactive, jobs included.
fn speed(service: &ServiceFacts, standing: &Standing) -> Option<Check> {
    let kind = standing.spawn_type.as_deref()?;
    if service.manager != Manager::Launchd || kind == "interactive" {
        return None;
    }
    let found = format!("launchd runs the worker as `{kind}`, which slows its jobs down");
    Some(Check::fail("speed", found).fix("write the service anew with `metal9 worker install`"))
}

/// A worker that makes containers is started by another unit than one that does not.
fn unit() -> Check {
    Check::fail("unit", "it is a native worker's: containers cannot read what the worker makes")
        .fix("write the service anew with `metal9 worker install`")
}

fn boot(service: &ServiceFacts) -> Option<Check> {
    if !service.installed {
        return None;
    }
    let name = "at boot";
    let account = &service.account;
    let check = match (service.manager, service.scope) {
        (_, Scope::System) => Check::ok(name, "it starts at boot, before anybody logs in"),
        (Manager::Launchd, Scope::User) => {
            Check::ok(name, format!("it starts when {account} logs in at the screen"))
        }
        (Manager::Systemd, Scope::User) => match service.lingers {
            Some(true) => Check::ok(name, "it starts at boot, before anybody logs in"),
            Some(false) => Check::warn(name, format!("it runs only while {account} is logged in"))
                .fix(format!("`loginctl enable-linger {account}`")),
            None => return None,
        },
    };
    let disabled = service.standing.as_ref().is_some_and(|it| it.enabled == Some(false));
    Some(match disabled {
        true => Check::warn(name, "it is installed, but not enabled")
            .fix("install it again with `metal9 worker install`"),
        false => check,
    })
}
