//! `metal9 worker status`.

use metal9_service::{Place, Standing};
use serde_json::json;

use super::find;
use crate::context::Context;
use crate::failure::Failure;

/// Shows how the service stands.
///
/// # Errors
///
/// If there is no service manager.
pub(super) fn run(context: &Context) -> Result<(), Failure> {
    let place = find::existing()?;
    let installed = place.file().exists();
    let standing = if installed { find::standing(&place)? } else { Standing::default() };
    let value = json!({
        "installed": installed,
        "kind": place.to_string(),
        "file": place.file(),
        "standing": standing,
    });
    context.output.show(&value, || describe(&place, installed, &standing))
}

fn describe(place: &Place, installed: bool, standing: &Standing) -> String {
    if !installed {
        return format!(
            "no {place} is installed\n  file:       {} (not there)\n",
            place.file().display()
        );
    }
    let mut rows = vec![("file", place.file().display().to_string())];
    rows.push(("state", standing.state.clone()));
    let optional = [
        ("pid", standing.pid.map(|pid| pid.to_string())),
        ("starts", standing.starts.map(|starts| starts.to_string())),
        ("last exit", standing.last_exit.clone()),
        ("class", standing.spawn_type.clone()),
        ("at boot", standing.enabled.map(|it| if it { "yes" } else { "no" }.to_owned())),
    ];
    rows.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let rows = rows.iter().map(|(name, value)| format!("  {:<12}{value}\n", format!("{name}:")));
    format!("{place}\n{}", rows.collect::<String>())
}

#[cfg(test)]
mod tests {
    use metal9_service::{Account, Manager, Scope};

    use super::*;

    #[test]
    fn a_service_is_described_by_what_is_known_of_it() {
        let account = Account { name: "ada".into(), uid: 501, home: "/Users/ada".into() };
        let place = Place { manager: Manager::Launchd, scope: Scope::System, account };
        let standing = Standing {
            loaded: true,
            running: true,
            pid: Some(7),
            state: "running".into(),
            spawn_type: Some("interactive".into()),
            ..Standing::default()
        };
        assert_eq!(
            describe(&place, true, &standing),
            "LaunchDaemon\n  file:       /Library/LaunchDaemons/metal9.worker.plist\n  \
             state:      running\n  pid:        7\n  class:      interactive\n"
        );
        assert!(describe(&place, false, &standing).starts_with("no LaunchDaemon is installed\n"));
    }
}
