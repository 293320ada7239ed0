//! What to do when a service manager refuses.

/// Sentences that service managers fail with, and what to do then.
const KNOWN: [(&str, &str); 8] = [
    (
        "Domain does not support specified action",
        "a LaunchAgent needs its user to be logged in at the screen; without one, install a \
         LaunchDaemon with `sudo metal9 worker install`",
    ),
    (
        "Could not find domain for",
        "a LaunchAgent needs its user to be logged in at the screen; without one, install a \
         LaunchDaemon with `sudo metal9 worker install`",
    ),
    (
        "Input/output error",
        "launchd has more to say: see `launchctl print-disabled` for a service that is disabled, \
         and check the plist with `plutil -lint`",
    ),
    (
        "System has not been booted with systemd",
        "systemd does not run here; let whatever starts programs on this machine run `metal9 \
         worker run`",
    ),
    (
        "Failed to connect to bus",
        "log in as this user itself rather than by `su` or `sudo`, or set \
         XDG_RUNTIME_DIR=/run/user/UID; or install a system unit with `sudo metal9 worker install`",
    ),
    ("Permission denied", "the machine's own service is changed with `sudo`"),
    ("Interactive authentication required", "the machine's own service is changed with `sudo`"),
    ("Operation not permitted", "the machine's own service is changed with `sudo`"),
];

/// What to do about what a service manager's program has printed, where we know.
#[must_use]
pub fn advice(output: &str) -> Option<&'static str> {
    KNOWN.iter().find(|(sentence, _)| output.contains(sentence)).map(|(_, advice)| *advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_that_are_known_have_advice() {
        let over_ssh = "Bootstrap failed: 125: Domain does not support specified action\n";
        assert!(advice(over_ssh).is_some_and(|advice| advice.contains("LaunchDaemon")));
        let container = "System has not been booted with systemd as init system (PID 1). \
                         Can't operate.\nFailed to connect to bus: Host is down\n";
        assert!(advice(container).is_some_and(|advice| advice.contains("worker run")));
        assert_eq!(advice("no idea"), None);
    }
}
