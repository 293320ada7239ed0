//! How a Mac gets its power, from what `pmset` and `fdesetup` print.

use std::process::{Command, Stdio};

use crate::doctor::facts::Power;

/// Asks a Mac; nothing on other systems.
pub(super) fn look() -> Option<Power> {
    cfg!(target_os = "macos").then(|| {
        let settings = output("/usr/bin/pmset", &["-g", "custom"]);
        let source = output("/usr/bin/pmset", &["-g", "batt"]);
        read(&settings, &source, &output("/usr/bin/fdesetup", &["status"]))
    })
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    output.map_or_else(|_| String::new(), |it| String::from_utf8_lossy(&it.stdout).into_owned())
}

/// Reads `pmset -g custom`, `pmset -g batt` and `fdesetup status`.
fn read(settings: &str, source: &str, filevault: &str) -> Power {
    let mains = section(settings, "AC Power:");
    let setting = |name: &str| {
        let words = mains.iter().map(|line| line.split_whitespace());
        let mut values = words
            .filter_map(|mut words| (words.next() == Some(name)).then(|| words.next()).flatten());
        values.next().and_then(|value| value.parse::<u32>().ok())
    };
    Power {
        on_battery: source.lines().next().is_some_and(|line| line.contains("'Battery Power'")),
        has_battery: source.contains("InternalBattery"),
        sleep: setting("sleep"),
        autorestart: setting("autorestart").map(|value| value != 0),
        filevault: match filevault {
            text if text.contains("FileVault is On") => Some(true),
            text if text.contains("FileVault is Off") => Some(false),
            _ => None,
        },
    }
}

/// The lines below a heading, to the next one; all lines where there are no headings.
fn section<'a>(text: &'a str, heading: &str) -> Vec<&'a str> {
    let is_heading = |line: &&str| !line.starts_with(' ') && line.trim_end().ends_with(':');
    if !text.lines().any(|line| line.trim_end() == heading) {
        return text.lines().collect();
    }
    let below = text.lines().skip_while(|line| line.trim_end() != heading).skip(1);
    below.take_while(|line| !is_heading(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    // In the form that these programs have; not taken from a machine.
    const LAPTOP: &str = "\
Battery Power:
 Sleep On Power Button 1
 lowpowermode         0
 sleep                1
 disksleep            10
AC Power:
 Sleep On Power Button 1
 lowpowermode         0
 sleep                20
 disksleep            10
";
    const DESKTOP: &str = "AC Power:\n autorestart          0\n sleep                0\n";

    #[test]
    fn a_laptop_is_read_as_it_is_on_mains() {
        let source =
            "Now drawing from 'Battery Power'\n -InternalBattery-0 (id=1)\t63%; discharging\n";
        let power = read(LAPTOP, source, "FileVault is On.\n");
        assert!(power.on_battery && power.has_battery);
        assert_eq!((power.sleep, power.filevault), (Some(20), Some(true)));
        assert_eq!(power.autorestart, None);
    }

    #[test]
    fn a_desktop_has_no_battery() {
        let power = read(DESKTOP, "Now drawing from 'AC Power'\n", "FileVault is Off.\n");
        let expected = Power {
            sleep: Some(0),
            autorestart: Some(false),
            filevault: Some(false),
            ..Power::default()
        };
        assert_eq!(power, expected);
    }

    #[test]
    fn what_is_not_said_is_not_known() {
        assert_eq!(read("", "", ""), Power::default());
    }
}
