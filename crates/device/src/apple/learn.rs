//! What Metal says of the GPUs that macOS lists.

use std::error::Error;

use metal9_types::Vendor;

use super::Chip;
use crate::Inventory;
use crate::inventory::{Source, device, mib};
use crate::probe::{MetalDevice, ProbeError, Report};

/// See [`Inventory::learn`].
pub(crate) fn learn(inventory: &mut Inventory, outcome: Result<Report, ProbeError>) {
    let report = match outcome {
        Ok(report) => report,
        Err(error) => {
            let why = format!("Metal could not be asked: {}", with_causes(&error));
            return keep(inventory, &mut Vec::new(), &why);
        }
    };
    let (mut seen, unusable): (Vec<&MetalDevice>, Vec<_>) =
        report.devices.iter().partition(|device| Chip::parse(&device.name).is_some());
    for device in unusable {
        inventory.note(format!("Metal's device `{}` is no GPU that jobs can use", device.name));
    }
    let why = match &report.reason {
        Some(reason) => format!("Metal does not see it: {reason}"),
        None => "Metal does not see it".to_owned(),
    };
    keep(inventory, &mut seen, &why);
    // Metal is right about a GPU that macOS did not list.
    for told in seen {
        if let Some(obstacle) = told.obstacle() {
            inventory.withheld = true;
            inventory.note(format!("the GPU `{}` is not offered: {obstacle}", told.name));
            continue;
        }
        let Some(chip) = Chip::parse(&told.name) else { continue };
        let memory_mib = mib(told.recommended_max_working_set);
        let made = device(Vendor::Apple, (&chip.family, chip.variant), 0, memory_mib);
        inventory.add(made, Source::Registry(told.registry_id));
    }
    inventory.metal = Some(report);
}

/// An error and what caused it, in one line.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Keeps the Apple GPUs that Metal has `seen`, which are taken out of there, with the memory that
/// it recommends to use; those that do not compute go, and the others, for which `why` is noted.
fn keep(inventory: &mut Inventory, seen: &mut Vec<&MetalDevice>, why: &str) {
    inventory.sources.resize(inventory.devices.len(), Source::Simulated);
    let devices = std::mem::take(&mut inventory.devices);
    let sources = std::mem::take(&mut inventory.sources);
    for (mut device, source) in devices.into_iter().zip(sources) {
        if let Source::Registry(id) = source {
            let Some(told) = take(seen, id, &device.family, &device.variant) else {
                inventory.withheld = true;
                inventory.note(format!("the GPU {} is not offered: {why}", device.name()));
                continue;
            };
            if let Some(obstacle) = told.obstacle() {
                inventory.withheld = true;
                inventory.note(format!("the GPU {} is not offered: {obstacle}", device.name()));
                continue;
            }
            if told.recommended_max_working_set > 0 {
                device.memory_mib = mib(told.recommended_max_working_set);
            }
        }
        inventory.add(device, source);
    }
}

/// See [`Inventory::withdraw`].
pub(crate) fn withdraw(inventory: &mut Inventory, reason: &str) {
    inventory.sources.resize(inventory.devices.len(), Source::Simulated);
    let devices = std::mem::take(&mut inventory.devices);
    let sources = std::mem::take(&mut inventory.sources);
    let all_pretend = inventory.machine.simulated;
    let mut gone = Vec::new();
    for (device, source) in devices.into_iter().zip(sources) {
        if device.vendor == Vendor::Apple && (all_pretend || source != Source::Simulated) {
            inventory.withheld = true;
            gone.push(device.name());
        } else {
            inventory.add(device, source);
        }
    }
    if gone.is_empty() && !inventory.machine.notes.is_empty() {
        // What took it away before is the better reason.
        return;
    }
    let note = match gone.as_slice() {
        [] => format!("functions on this worker see no GPU: {reason}"),
        gone => format!(
            "the GPU {} is not offered, as functions on this worker do not see it: {reason}",
            gone.join(", ")
        ),
    };
    // It is the first note that people are told who wait for one.
    inventory.machine.notes.insert(0, note);
}

/// Takes the device with this id, or else one of the same chip.
fn take<'a>(
    seen: &mut Vec<&'a MetalDevice>,
    id: u64,
    family: &str,
    variant: &str,
) -> Option<&'a MetalDevice> {
    let is_same_chip = |told: &&MetalDevice| {
        Chip::parse(&told.name).is_some_and(|it| it.family == family && it.variant == variant)
    };
    let by_id = seen.iter().position(|told| id != 0 && told.registry_id == id);
    let at = by_id.or_else(|| seen.iter().position(is_same_chip))?;
    Some(seen.remove(at))
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn told(name: &str, registry_id: u64) -> MetalDevice {
        MetalDevice {
            name: name.into(),
            registry_id,
            has_unified_memory: true,
            // 32 GiB machines have been seen to recommend 21845 MiB.
            recommended_max_working_set: 21_845 << 20,
            computes: true,
            ..MetalDevice::default()
        }
    }

    fn mac(id: u64) -> Inventory {
        let mut inventory = Inventory::default();
        inventory.add(device(Vendor::Apple, ("M1", "Max"), 32, 0), Source::Registry(id));
        inventory
    }

    fn report(devices: Vec<MetalDevice>) -> Result<Report, ProbeError> {
        Ok(Report { devices, reason: None })
    }

    #[test]
    fn the_recommended_working_set_becomes_the_memory() {
        for (listed, seen) in [(7, 7), (0, 7), (7, 8)] {
            let mut inventory = mac(listed);
            assert!(inventory.needs_probe());
            inventory.learn(report(vec![told("Apple M1 Max", seen)]));
            assert!(!inventory.needs_probe() && !inventory.withheld);
            assert_eq!(inventory.devices.len(), 1);
            assert_eq!((inventory.devices[0].memory_mib, inventory.devices[0].cores), (21_845, 32));
            assert!(inventory.machine.notes.is_empty());
        }
    }

    #[test]
    fn a_gpu_that_metal_does_not_see_is_not_offered() {
        let mut inventory = mac(7);
        let reason = Some("no device".to_owned());
        inventory.learn(Ok(Report { devices: vec![told("Apple Paravirtual device", 9)], reason }));
        assert!(inventory.devices.is_empty() && inventory.sources.is_empty());
        assert!(inventory.withheld);
        let notes = inventory.machine.notes.join("\n");
        assert!(notes.contains("`Apple Paravirtual device` is no GPU"), "{notes}");
        assert!(
            notes.contains("M1 Max is not offered: Metal does not see it: no device"),
            "{notes}"
        );
    }

    #[test]
    fn a_gpu_that_does_not_compute_is_not_offered() {
        let mut idle = told("Apple M1 Max", 7);
        (idle.computes, idle.reason) = (false, Some("it makes no command queue".to_owned()));
        for listed in [mac(7), Inventory::default()] {
            let mut inventory = listed;
            inventory.learn(report(vec![idle.clone()]));
            assert!(inventory.devices.is_empty() && inventory.sources.is_empty());
            assert!(inventory.withheld, "another look may find that it does");
            let [note] = inventory.machine.notes.as_slice() else { panic!("one note") };
            assert!(note.ends_with("it does not compute: it makes no command queue"), "{note}");
        }
    }

    #[test]
    fn what_jobs_do_not_see_is_withdrawn_with_the_reason_first() {
        let mut inventory = mac(7);
        inventory.note("something else");
        inventory.add(device(Vendor::Nvidia, ("H100", ""), 1, 2), Source::Nvml("GPU-1".into()));
        inventory.simulate(&crate::simulate("M4").unwrap());
        inventory.withdraw("it makes no command queue");
        let left: Vec<String> = inventory.devices.iter().map(|it| it.name()).collect();
        assert_eq!(left, ["H100", "M4 (simulated)"]);
        assert_eq!(inventory.sources, [Source::Nvml("GPU-1".into()), Source::Simulated]);
        assert_eq!(
            inventory.machine.notes,
            [
                "the GPU M1 Max is not offered, as functions on this worker do not see it: it makes \
                 no command queue",
                "something else"
            ]
        );
    }

    #[test]
    fn on_a_simulated_machine_its_simulated_gpus_are_withdrawn() {
        let mut inventory = Inventory::default();
        inventory.machine.simulated = true;
        inventory.simulate(&crate::simulate("M4").unwrap());
        inventory.withdraw("no");
        assert!(inventory.devices.is_empty() && inventory.sources.is_empty());
        assert!(inventory.machine.notes[0].starts_with("the GPU M4 (simulated) is not offered"));
    }

    #[test]
    fn a_reason_that_is_known_already_is_not_told_again() {
        let mut inventory = Inventory::default();
        inventory.note("this is a virtual machine");
        inventory.withdraw("no device");
        assert_eq!(inventory.machine.notes, ["this is a virtual machine"]);
        assert!(!inventory.withheld, "there is none to look for");
        let mut inventory = Inventory::default();
        inventory.withdraw("no device");
        assert_eq!(inventory.machine.notes, ["functions on this worker see no GPU: no device"]);
    }

    #[test]
    fn a_probe_that_fails_takes_the_gpu_away_but_nothing_else() {
        let mut inventory = mac(7);
        inventory.add(device(Vendor::Nvidia, ("H100", ""), 1, 2), Source::Simulated);
        inventory.learn(Err(ProbeError::Silent));
        assert_eq!(inventory.devices[0].family, "H100");
        assert_eq!(inventory.devices.len(), 1);
        assert!(inventory.withheld);
        assert!(inventory.machine.notes[0].contains("Metal could not be asked: the probe did not"));
        let mut inventory = mac(7);
        inventory.learn(Err(ProbeError::Start(io::Error::other("no such program"))));
        assert!(inventory.machine.notes[0].ends_with("cannot be started: no such program"));
    }

    #[test]
    fn a_gpu_that_only_metal_knows_is_offered() {
        let mut inventory = Inventory::default();
        inventory.machine.os = "macOS 26.4".into();
        assert!(!inventory.needs_probe());
        inventory.machine.chip = "Apple M4 Pro".into();
        assert!(inventory.needs_probe());
        inventory.learn(report(vec![told("Apple M4 Pro", 3)]));
        assert!(!inventory.needs_probe());
        assert_eq!(inventory.devices[0].name(), "M4 Pro");
        assert_eq!(inventory.sources, [Source::Registry(3)]);
    }
}
