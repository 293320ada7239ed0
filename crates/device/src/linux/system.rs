//! The part that reads from the running system.

use std::fs;
use std::path::Path;

use metal9_types::{DeviceUse, Power, Thermal};

use super::{Facts, machine};
use crate::inventory::Source;
use crate::{Inventory, nvidia};

/// Finds out what this machine is.
pub(crate) fn discover() -> Inventory {
    let facts = Facts::read(Path::new("/"));
    let (machine, memory_mib) = (machine(&facts), facts.memory_mib());
    let mut inventory = Inventory { machine, memory_mib, ..Inventory::default() };
    nvidia::add(&nvidia::Reader::open().read(), &mut inventory);
    inventory
}

/// The kernel's own name for the time since the machine was started.
pub(crate) fn boot_session() -> Option<String> {
    let read = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(read.trim().to_owned()).filter(|id| !id.is_empty())
}

/// What a gauge keeps open.
#[derive(Debug)]
pub(crate) struct System {
    nvidia: Option<nvidia::Reader>,
}

impl System {
    pub(crate) fn open(sources: &[Source]) -> Self {
        let has_nvidia = sources.iter().any(|source| matches!(source, Source::Nvml(_)));
        Self { nvidia: has_nvidia.then(nvidia::Reader::open) }
    }

    /// Linux has no grades of heat that would be the same on every machine.
    pub(crate) fn thermal(&self) -> Option<Thermal> {
        None
    }

    pub(crate) fn power(&self) -> Option<Power> {
        power(Path::new("/sys/class/power_supply"))
    }

    pub(crate) fn device(&self, source: &Source) -> DeviceUse {
        match (source, &self.nvidia) {
            (Source::Nvml(uuid), Some(nvidia)) => nvidia.usage(uuid),
            _ => DeviceUse::default(),
        }
    }
}

/// What feeds the machine, of the supplies that the kernel lists in `directory`.
fn power(directory: &Path) -> Option<Power> {
    let mut found = None;
    for supply in fs::read_dir(directory).ok()?.flatten() {
        let read = |name: &str| fs::read_to_string(supply.path().join(name)).unwrap_or_default();
        // A mouse's battery has the scope `Device`.
        if read("scope").trim() == "Device" {
            continue;
        }
        match (read("type").trim(), read("online").trim(), read("status").trim()) {
            ("Mains" | "USB", "1", _) => return Some(Power::Ac),
            ("Battery", _, "Discharging") => found = Some(Power::Battery),
            ("Battery", _, "Charging" | "Full" | "Not charging") => {
                found = found.or(Some(Power::Ac));
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn supplies(list: &[(&str, &[(&str, &str)])]) -> Option<Power> {
        let root = tempfile::tempdir().unwrap();
        for (name, files) in list {
            fs::create_dir(root.path().join(name)).unwrap();
            for (file, text) in *files {
                fs::write(root.path().join(name).join(file), format!("{text}\n")).unwrap();
            }
        }
        power(root.path())
    }

    #[test]
    fn the_mains_win_over_a_battery() {
        let mains = |online| ("AC", [("type", "Mains"), ("online", online)]);
        let battery: (&str, &[_]) = ("BAT0", &[("type", "Battery"), ("status", "Discharging")]);
        let (on, off) = (mains("1"), mains("0"));
        assert_eq!(supplies(&[(on.0, &on.1), battery]), Some(Power::Ac));
        assert_eq!(supplies(&[(off.0, &off.1), battery]), Some(Power::Battery));
    }

    #[test]
    fn this_boot_has_one_name_and_this_machine_memory() {
        assert_eq!(boot_session().map(|id| id.len()), Some(36));
        assert_eq!(boot_session(), boot_session());
        assert!(discover().memory_mib > 0);
    }

    #[test]
    fn a_machine_that_lists_nothing_is_not_known() {
        assert_eq!(supplies(&[]), None);
        assert_eq!(power(Path::new("/not/there")), None);
    }

    #[test]
    fn the_battery_of_a_mouse_feeds_no_machine() {
        let mouse: (&str, &[_]) =
            ("hidpp", &[("type", "Battery"), ("scope", "Device"), ("status", "Discharging")]);
        assert_eq!(supplies(&[mouse]), None);
    }
}
