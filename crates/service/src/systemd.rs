//! The unit that systemd reads.

use std::fmt::Write as _;

use crate::place::Scope;
use crate::service::Service;

/// Files a worker and each of its jobs may have open.
const OPEN_FILES: u32 = 65_536;

/// What the worker and all that it starts do without. It would keep images from being unpacked and
/// built as they are.
const RESTRICTIONS: &str =
    "NoNewPrivileges=yes\nRestrictSUIDSGID=yes\nSystemCallArchitectures=native\n";

/// Whether a unit, which may have been written for a worker whose jobs are processes of the machine, can
/// start one that makes containers of them.
#[must_use]
pub fn suits_containers(unit: &str) -> bool {
    !unit.contains(RESTRICTIONS)
}

/// The unit of a user's or the system's systemd.
pub(crate) fn unit(service: &Service) -> String {
    let system = service.place.scope == Scope::System;
    let mut text = String::from("[Unit]\nDescription=metal9 worker\n");
    if system {
        // A user's systemd does not know when the network is there; the worker waits for it itself.
        text += "Wants=network-online.target\nAfter=network-online.target\n";
    }
    // A gateway that is away for long is no reason to give up.
    text += "StartLimitIntervalSec=0\n\n[Service]\nType=exec\n";
    let words: Vec<String> = service.command().iter().map(|word| quoted(word)).collect();
    let _ = writeln!(text, "ExecStart={}", words.join(" "));
    if system {
        let _ = writeln!(text, "User={}", service.place.account.name);
    }
    let _ = writeln!(text, "WorkingDirectory={}", path(&service.state.to_string_lossy()));
    let _ = writeln!(text, "Environment={}", assignment("PATH", &service.search_path()));
    for (name, value) in &service.variables {
        let _ = writeln!(text, "Environment={}", assignment(name, value));
    }
    text += "Restart=on-failure\nRestartSec=5\n";
    text += "# A wrong command line or configuration does not get right by itself.\n";
    text += "RestartPreventExitStatus=2\n";
    text += "# SIGTERM goes to the worker, which drains; its jobs are killed after it is gone.\n";
    text += "KillMode=mixed\n";
    let _ = writeln!(text, "TimeoutStopSec={}", service.kill_after());
    text += "# The worker holds each container by a cgroup of its own.\nDelegate=yes\n";
    text += "# A job that is killed for its memory takes nobody with it.\nOOMPolicy=continue\n";
    let _ = writeln!(text, "LimitNOFILE={OPEN_FILES}\nTasksMax=infinity");
    if service.makes_containers {
        text += "# Containers with users of their own read what the worker makes for them; its directory\n";
        text += "# is closed to everybody else.\nUMask=0022\n";
    } else {
        text += "UMask=0077\n";
    }
    text +=
        "# Jobs are isolated by the worker, which needs namespaces and its own devices for that:\n";
    text += "# nothing that takes these away belongs here.\n";
    if service.makes_containers {
        text += "# Images have programs that give rights, or are of another architecture, and builds run\n";
        text += "# them. No job gains rights by any: its container keeps it from that.\n";
    } else {
        text += RESTRICTIONS;
    }
    let target = if system { "multi-user.target" } else { "default.target" };
    let _ = write!(text, "\n[Install]\nWantedBy={target}\n");
    text
}

/// A word of a command line. systemd reads quotes and backslashes as a shell does, `%` as the start
/// of a specifier and `$` as that of a variable.
fn quoted(word: &str) -> String {
    let plain = |it: char| it.is_ascii_alphanumeric() || "/._-+=:,@".contains(it);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("\"{}\"", escaped(word).replace('$', "$$"))
}

/// A variable and its value, where `$` means nothing.
fn assignment(name: &str, value: &str) -> String {
    format!("\"{name}={}\"", escaped(value))
}

fn escaped(text: &str) -> String {
    let text = text.replace('\\', r"\\").replace('"', "\\\"").replace('%', "%%");
    text.replace('\n', r"\n").replace('\t', r"\t")
}

/// A path that stands alone is read to the end of its line.
fn path(text: &str) -> String {
    text.replace('%', "%%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_mean_to_systemd_what_they_meant_before() {
        assert_eq!(quoted("/home/me/.metal9"), "/home/me/.metal9");
        assert_eq!(quoted("a b"), r#""a b""#);
        assert_eq!(quoted("100%"), r#""100%%""#);
        assert_eq!(quoted("$HOME"), r#""$$HOME""#);
        assert_eq!(quoted(r#"a"\b"#), r#""a\"\\b""#);
        assert_eq!(quoted(""), r#""""#);
        assert_eq!(assignment("A", "$x %y"), r#""A=$x %%y""#);
    }
}
