//! What the gateway is told of the machine and its accelerators.

use metal9_proto::worker as wire;
use metal9_types::{Condition, Device, Machine, Vendor};

pub(super) fn device(device: &Device) -> wire::DeviceInfo {
    wire::DeviceInfo {
        vendor: match device.vendor {
            Vendor::Apple => "apple".into(),
            Vendor::Nvidia => "nvidia".into(),
        },
        family: device.family.clone(),
        variant: device.variant.clone(),
        cores: device.cores,
        memory_mib: device.memory_mib,
        simulated: device.simulated,
        slots: device.slots,
    }
}

pub(super) fn machine(machine: &Machine) -> wire::MachineInfo {
    wire::MachineInfo {
        os: machine.os.clone(),
        model: machine.model.clone(),
        chip: machine.chip.clone(),
        is_virtual: machine.is_virtual,
        is_guest_on_mac: machine.is_guest_on_mac,
        simulated: machine.simulated,
        notes: machine.notes.clone(),
    }
}

pub(super) fn condition(condition: Condition) -> wire::Condition {
    let devices = condition.devices.into_iter().map(|device| wire::DeviceUse {
        busy_percent: device.busy_percent.map(u32::from),
        memory_used_mib: device.memory_used_mib,
    });
    wire::Condition {
        thermal: condition.thermal.map(|level| level.as_str().to_owned()).unwrap_or_default(),
        power: condition.power.map(|source| source.as_str().to_owned()).unwrap_or_default(),
        devices: devices.collect(),
    }
}

/// Places in the list of devices.
pub(super) fn places(devices: &[usize]) -> Vec<u32> {
    devices.iter().filter_map(|&place| u32::try_from(place).ok()).collect()
}
