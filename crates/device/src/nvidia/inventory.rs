//! From what NVML tells to the devices that jobs can use.

use metal9_types::Vendor;

use super::kind;
use crate::Inventory;
use crate::inventory::{Source, device, mib};

/// What NVML has told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Raw {
    /// The devices, in NVML's order, which is that of the bus.
    pub(crate) gpus: Vec<Gpu>,
    /// Why NVML could not be asked although it is there; an absent driver is no trouble.
    pub(crate) trouble: Option<String>,
}

/// One device.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gpu {
    pub(crate) uuid: String,
    /// The product's name, as `NVIDIA A100-SXM4-40GB`.
    pub(crate) name: String,
    /// CUDA cores; 0 if unknown.
    pub(crate) cores: u32,
    /// 0 if unknown, as of a device that shares the machine's memory.
    pub(crate) memory_bytes: u64,
    /// Memory errors since the driver was loaded that could not be corrected.
    pub(crate) uncorrected_errors: u64,
    /// Bad pages wait for a reset to be retired.
    pub(crate) needs_reset: bool,
    /// The device is divided into instances.
    pub(crate) is_divided: bool,
    /// Why the device could not be asked.
    pub(crate) trouble: Option<String>,
}

impl Gpu {
    /// Why no job should get the device, if none should.
    fn fault(&self) -> Option<String> {
        if let Some(trouble) = &self.trouble {
            return Some(format!("it cannot be asked: {trouble}"));
        }
        match self.uncorrected_errors {
            0 => {}
            1 => return Some("its memory had 1 error that could not be corrected".to_owned()),
            n => return Some(format!("its memory had {n} errors that could not be corrected")),
        }
        if self.needs_reset {
            return Some("it has bad memory pages and must be reset".to_owned());
        }
        let divided = "it is divided into MIG instances, which metal9 does not offer";
        self.is_divided.then(|| divided.to_owned())
    }
}

/// Adds the devices that can be used, and notes about the others.
pub(crate) fn add(raw: &Raw, inventory: &mut Inventory) {
    if let Some(trouble) = &raw.trouble {
        inventory.note(format!("NVIDIA's driver is there but cannot be used: {trouble}"));
    }
    for (index, gpu) in raw.gpus.iter().enumerate() {
        let name = if gpu.name.is_empty() { "unknown" } else { &gpu.name };
        if let Some(fault) = gpu.fault() {
            inventory.note(format!("NVIDIA device {index} ({name}) is not offered: {fault}"));
            continue;
        }
        let (family, variant) = kind(&gpu.name, mib(gpu.memory_bytes));
        let made = device(Vendor::Nvidia, (&family, variant), gpu.cores, mib(gpu.memory_bytes));
        inventory.add(made, Source::Nvml(gpu.uuid.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change = dyn Fn(&mut Gpu);

    fn gpu(change: impl FnOnce(&mut Gpu)) -> Gpu {
        let mut gpu = Gpu {
            uuid: "GPU-1".into(),
            name: "NVIDIA H100 80GB HBM3".into(),
            cores: 16_896,
            memory_bytes: 85_520_809_984,
            ..Gpu::default()
        };
        change(&mut gpu);
        gpu
    }

    fn found(raw: &Raw) -> Inventory {
        let mut inventory = Inventory::default();
        add(raw, &mut inventory);
        inventory
    }

    #[test]
    fn a_device_is_offered_under_the_name_that_selectors_use() {
        let inventory = found(&Raw { gpus: vec![gpu(|_| ())], trouble: None });
        let device = &inventory.devices[0];
        assert_eq!((device.name().as_str(), device.memory_mib), ("H100", 81_559));
        assert_eq!(inventory.sources, [Source::Nvml("GPU-1".into())]);
        assert!(inventory.machine.notes.is_empty());
    }

    #[test]
    fn a_device_with_a_fault_is_not_offered_and_the_fault_is_told() {
        let faults: [(&Change, &str); 5] = [
            (&|gpu| gpu.trouble = Some("GPU is lost".into()), "it cannot be asked: GPU is lost"),
            (&|gpu| gpu.uncorrected_errors = 1, "1 error that could not be corrected"),
            (&|gpu| gpu.uncorrected_errors = 2, "2 errors that could not be corrected"),
            (&|gpu| gpu.needs_reset = true, "must be reset"),
            (&|gpu| gpu.is_divided = true, "MIG"),
        ];
        for (change, expected) in faults {
            let inventory = found(&Raw { gpus: vec![gpu(|_| ()), gpu(change)], trouble: None });
            assert_eq!(inventory.devices.len(), 1, "{expected}");
            let note = &inventory.machine.notes[0];
            assert!(note.starts_with("NVIDIA device 1 (NVIDIA H100 80GB HBM3) is not"), "{note}");
            assert!(note.contains(expected), "{note}");
        }
    }

    #[test]
    fn a_device_that_shares_the_machine_s_memory_is_offered() {
        let shares = gpu(|gpu| {
            gpu.name = "NVIDIA GB10".into();
            gpu.memory_bytes = 0;
        });
        let inventory = found(&Raw { gpus: vec![shares], trouble: None });
        let device = &inventory.devices[0];
        assert_eq!((device.name().as_str(), device.memory_mib), ("GB10", 0));
    }

    #[test]
    fn an_absent_driver_is_no_note_but_a_broken_one_is() {
        assert!(found(&Raw::default()).machine.notes.is_empty());
        let broken = Raw { trouble: Some("version mismatch".into()), ..Raw::default() };
        assert!(found(&broken).machine.notes[0].ends_with("cannot be used: version mismatch"));
    }
}
