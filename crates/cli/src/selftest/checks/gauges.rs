//! What the worker tells of its machine with every heartbeat can be read.

use anyhow::Result;
use metal9_device::{Gauge, discover_with, probe};
use metal9_types::{Condition, Device, Vendor};

use super::Found;

/// Reads it as the worker does.
pub(in crate::selftest) async fn gauges() -> Result<Found> {
    let looking = tokio::task::spawn_blocking(|| {
        let inventory = discover_with(probe::run_this_program);
        let condition = Gauge::new(&inventory).look();
        (inventory.devices, condition)
    });
    let (devices, condition) = looking.await?;
    Ok(judge(&devices, &condition, cfg!(target_os = "macos")))
}

/// What was read, and what was not though it should be there.
fn judge(devices: &[Device], condition: &Condition, is_mac: bool) -> Found {
    let (mut read, mut missing) = (Vec::new(), Vec::new());
    let mut note = |name: String, known: bool, expected: bool| match (known, expected) {
        (true, _) => read.push(name),
        (false, true) => missing.push(name),
        (false, false) => {}
    };
    note("heat".to_owned(), condition.thermal.is_some(), is_mac);
    note("power source".to_owned(), condition.power.is_some(), is_mac);
    for (device, usage) in devices.iter().zip(&condition.devices) {
        let of = device.name();
        // Not every device of NVIDIA's tells.
        let apple = device.vendor == Vendor::Apple;
        note(format!("how busy {of} is"), usage.busy_percent.is_some(), apple);
        note(format!("memory in use of {of}"), usage.memory_used_mib.is_some(), apple);
    }
    if missing.is_empty() {
        return match read.as_slice() {
            [] => Found::ok("this system tells neither heat nor power, and there is no GPU"),
            read => Found::ok(format!("can be read: {}", read.join(", "))),
        };
    }
    Found::fail(format!("cannot be read: {}", missing.join(", "))).fix(
        "jobs run all the same, but a worker that is too hot or on battery is not known as such",
    )
}

#[cfg(test)]
mod tests {
    use metal9_types::{DeviceUse, Power, Thermal};

    use super::*;
    use crate::report::Status;

    #[test]
    fn a_mac_tells_heat_power_and_how_its_gpu_is_doing() {
        let gpu = metal9_device::simulate("M4 Pro").unwrap().device;
        let usage = DeviceUse { busy_percent: Some(3), memory_used_mib: Some(200) };
        let all = Condition {
            thermal: Some(Thermal::Nominal),
            power: Some(Power::Ac),
            devices: vec![usage],
        };
        assert_eq!(judge(std::slice::from_ref(&gpu), &all, true).status, Status::Ok);
        for (less, word) in [
            (Condition { thermal: None, ..all.clone() }, "heat"),
            (Condition { power: None, ..all.clone() }, "power"),
            (Condition { devices: vec![DeviceUse::default()], ..all }, "how busy M4 Pro"),
        ] {
            let found = judge(std::slice::from_ref(&gpu), &less, true);
            assert!(found.status == Status::Fail && found.text.contains(word), "{found:?}");
        }
    }

    #[test]
    fn elsewhere_only_what_is_there_must_be_read() {
        assert_eq!(judge(&[], &Condition::default(), false).status, Status::Ok);
        assert_eq!(judge(&[], &Condition::default(), true).status, Status::Fail);
    }
}
