//! What was found on a machine.

use metal9_types::{Device, Machine, Vendor};
use serde::Serialize;

use crate::probe::{ProbeError, Report};
use crate::{Simulated, apple};

/// A machine and its accelerators.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Inventory {
    /// The machine.
    pub machine: Machine,
    /// All of its memory, in MiB; 0 if unknown.
    pub memory_mib: u64,
    /// Its accelerators that jobs can use, in the order in which a [`crate::Gauge`] tells of them.
    /// What is simulated may be added at the end.
    pub devices: Vec<Device>,
    /// What Metal itself has said, once it was asked.
    pub metal: Option<Report>,
    /// `true` if a GPU that the machine has was taken away because it could not be used: another
    /// look may find that it can.
    #[serde(skip)]
    pub withheld: bool,
    /// Where each device's figures are read; a device that has none is simulated.
    #[serde(skip)]
    pub(crate) sources: Vec<Source>,
}

/// Where the figures of a device are read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    /// An entry of the I/O registry, by its id; 0 if it is not known.
    Registry(u64),
    /// A device of NVML, by its UUID.
    #[cfg_attr(
        not(any(target_os = "linux", test)),
        expect(dead_code, reason = "no other system has NVML")
    )]
    Nvml(String),
    /// Nowhere: it only pretends to be there.
    Simulated,
}

impl Inventory {
    /// `true` if only a [`crate::probe`] can tell what jobs get of the devices: an Apple GPU's
    /// `memory_mib` is 0 until Metal has said how much to use, unless the owner has set a limit.
    #[must_use]
    pub fn needs_probe(&self) -> bool {
        let machine = &self.machine;
        let may_have_one = machine.os.starts_with("macOS")
            && machine.chip.starts_with("Apple ")
            && !machine.is_virtual;
        let lists_one = self.sources.iter().any(|it| matches!(it, Source::Registry(_)));
        self.metal.is_none() && (may_have_one || lists_one)
    }

    /// Takes what a probe has found: the memory that Metal recommends to use becomes each Apple
    /// GPU's memory, and a GPU that Metal does not see is taken away, with a note that says why.
    pub fn learn(&mut self, outcome: Result<Report, ProbeError>) {
        apple::learn(self, outcome);
    }

    /// Takes the GPUs of a Mac away because jobs do not see them, with a note that says why. Those
    /// that are simulated stay, unless the machine is as well.
    pub fn withdraw(&mut self, reason: &str) {
        apple::withdraw(self, reason);
    }

    /// Adds a device that only pretends to be there.
    pub fn simulate(&mut self, simulated: &Simulated) {
        self.add(simulated.device.clone(), Source::Simulated);
    }

    pub(crate) fn add(&mut self, device: Device, source: Source) {
        // Devices may have been added to the public list without a source.
        self.sources.resize(self.devices.len(), Source::Simulated);
        self.devices.push(device);
        self.sources.push(source);
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.machine.notes.push(note.into());
    }
}

/// The one place where devices are made.
pub(crate) fn device(
    vendor: Vendor,
    (family, variant): (&str, &str),
    cores: u32,
    memory_mib: u64,
) -> Device {
    Device {
        vendor,
        family: family.to_owned(),
        variant: variant.to_owned(),
        cores,
        memory_mib,
        slots: 1,
        simulated: false,
    }
}

/// Whole MiB of an amount in bytes.
pub(crate) fn mib(bytes: u64) -> u64 {
    bytes / (1024 * 1024)
}
