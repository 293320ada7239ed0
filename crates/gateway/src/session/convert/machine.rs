//! What a worker says of its machine and its accelerators.
//!
//! People read these texts and the scheduler adds the numbers up, so both have limits.

use metal9_proto::worker as wire;
use metal9_types::{Condition, Device, DeviceUse, Machine, OnBattery, Vendor};

use crate::validate::resources;

/// What a worker is told that only pretends to have something.
pub(super) const SIMULATED: &str = "this gateway does not accept simulated devices; start it with \
                                    --allow-simulated-devices to try things out";

/// Bytes of a name, as that of a chip or a system.
const MAX_NAME: usize = 200;
/// Bytes of a note.
const MAX_NOTE: usize = 1000;
/// Notes of a machine.
const MAX_NOTES: usize = 20;
/// GPU cores: more than any device has.
const MAX_CORES: u32 = 1_000_000;
/// Jobs that a device takes at a time.
const MAX_SLOTS: u32 = 1000;

/// Reads an accelerator.
pub(super) fn device(device: &wire::DeviceInfo) -> Result<Device, String> {
    let vendor = match device.vendor.as_str() {
        "apple" => Vendor::Apple,
        "nvidia" => Vendor::Nvidia,
        other => {
            let shown: String = other.chars().take(MAX_NAME).collect();
            return Err(format!("`{shown}` is not a vendor of devices"));
        }
    };
    let most = u64::try_from(resources::MAX_MEMORY_MIB).unwrap_or(u64::MAX);
    let numbers = [
        ("cores", u64::from(device.cores), u64::from(MAX_CORES)),
        ("MiB of memory", device.memory_mib, most),
        ("slots", u64::from(device.slots), u64::from(MAX_SLOTS)),
    ];
    for (what, found, limit) in numbers {
        if found > limit {
            return Err(format!("a device cannot have {found} {what} (limit {limit})"));
        }
    }
    if device.family.is_empty() {
        return Err("a device has no family".to_owned());
    }
    Ok(Device {
        vendor,
        family: text("a device's family", &device.family, MAX_NAME)?,
        variant: text("a device's variant", &device.variant, MAX_NAME)?,
        cores: device.cores,
        memory_mib: device.memory_mib,
        slots: device.slots.max(1),
        simulated: device.simulated,
    })
}

/// Reads what the machine is.
pub(super) fn machine(machine: wire::MachineInfo) -> Result<Machine, String> {
    if machine.notes.len() > MAX_NOTES {
        let found = machine.notes.len();
        return Err(format!("a machine cannot have {found} notes (limit {MAX_NOTES})"));
    }
    let notes = machine.notes.iter().map(|note| text("a machine's note", note, MAX_NOTE));
    Ok(Machine {
        os: text("a machine's system", &machine.os, MAX_NAME)?,
        model: text("a machine's model", &machine.model, MAX_NAME)?,
        chip: text("a machine's chip", &machine.chip, MAX_NAME)?,
        is_virtual: machine.is_virtual,
        is_guest_on_mac: machine.is_guest_on_mac,
        simulated: machine.simulated,
        notes: notes.collect::<Result<_, _>>()?,
    })
}

/// Reads how the machine is doing, of which so many devices are known.
pub(crate) fn condition(condition: wire::Condition, devices: usize) -> Result<Condition, String> {
    if condition.devices.len() > devices {
        let found = condition.devices.len();
        return Err(format!("{found} devices are in use, of {devices} that there are"));
    }
    let known = |name: &str| (!name.is_empty()).then(|| name.chars().take(MAX_NAME).collect());
    let thermal: Option<String> = known(&condition.thermal);
    let power: Option<String> = known(&condition.power);
    let devices = condition.devices.into_iter().map(|device| DeviceUse {
        busy_percent: device
            .busy_percent
            .map(|percent| u8::try_from(percent.min(100)).unwrap_or(100)),
        memory_used_mib: device.memory_used_mib,
    });
    Ok(Condition {
        thermal: thermal.map(|name| name.parse()).transpose()?,
        power: power.map(|name| name.parse()).transpose()?,
        devices: devices.collect(),
    })
}

/// Reads what a worker does on battery.
pub(super) fn on_battery(name: &str) -> Result<OnBattery, String> {
    let name: String = name.chars().take(MAX_NAME).collect();
    if name.is_empty() { Ok(OnBattery::Run) } else { name.parse() }
}

/// Reads places in the list of `count` devices.
pub(super) fn places(places: &[u32], count: usize) -> Result<Vec<usize>, String> {
    let place = |place: &u32| {
        let found = usize::try_from(*place).ok().filter(|place| *place < count);
        found.ok_or_else(|| format!("a container has device {place}, of {count} that there are"))
    };
    places.iter().map(place).collect()
}

fn text(what: &str, text: &str, limit: usize) -> Result<String, String> {
    if text.len() > limit {
        return Err(format!("{what} is {} bytes long (limit {limit})", text.len()));
    }
    if text.chars().any(char::is_control) {
        return Err(format!("{what} is not one line of text"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use metal9_types::{Power, Thermal};

    use super::*;

    fn info() -> wire::DeviceInfo {
        wire::DeviceInfo { vendor: "apple".into(), family: "M3".into(), ..Default::default() }
    }

    #[test]
    fn a_device_takes_at_least_one_job() {
        assert_eq!(device(&info()).unwrap().slots, 1);
        assert_eq!(device(&wire::DeviceInfo { slots: 2, ..info() }).unwrap().slots, 2);
    }

    #[test]
    fn what_no_device_has_is_refused() {
        let wrong = [
            (wire::DeviceInfo { vendor: "acme".into(), ..info() }, "acme"),
            (wire::DeviceInfo { family: String::new(), ..info() }, "family"),
            (wire::DeviceInfo { family: "x".repeat(201), ..info() }, "201 bytes"),
            (wire::DeviceInfo { variant: "a\nb".into(), ..info() }, "one line"),
            (wire::DeviceInfo { memory_mib: u64::MAX, ..info() }, "MiB"),
            (wire::DeviceInfo { cores: u32::MAX, ..info() }, "cores"),
            (wire::DeviceInfo { slots: 1001, ..info() }, "slots"),
        ];
        for (info, word) in wrong {
            let refused = device(&info).unwrap_err();
            assert!(refused.contains(word), "{refused}");
        }
    }

    #[test]
    fn a_condition_is_known_or_not() {
        let read = |thermal: &str, power: &str| {
            let (thermal, power) = (thermal.into(), power.into());
            condition(wire::Condition { thermal, power, devices: Vec::new() }, 0)
        };
        assert_eq!(read("", "").unwrap(), Condition::default());
        let hot = read("heavy", "battery").unwrap();
        assert_eq!((hot.thermal, hot.power), (Some(Thermal::Heavy), Some(Power::Battery)));
        assert!(read("lukewarm", "").unwrap_err().contains("lukewarm"));
        assert!(read("", "pedals").unwrap_err().contains("pedals"));
    }

    #[test]
    fn the_use_of_devices_is_of_those_there_are() {
        let with = |count: usize| {
            let device = wire::DeviceUse { busy_percent: Some(250), memory_used_mib: Some(3072) };
            wire::Condition { devices: vec![device; count], ..Default::default() }
        };
        let expected = DeviceUse { busy_percent: Some(100), memory_used_mib: Some(3072) };
        assert_eq!(condition(with(1), 1).unwrap().devices, [expected]);
        assert!(condition(with(2), 1).is_err());
        assert!(places(&[0, 1], 2).is_ok() && places(&[2], 2).is_err());
    }
}
