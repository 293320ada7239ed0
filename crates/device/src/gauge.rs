//! How a machine is doing, asked again and again.

use metal9_types::{Condition, DeviceUse};

use crate::Inventory;
use crate::inventory::Source;

/// Reads how hot a machine is, what it runs on and how busy its devices are.
///
/// What is needed to ask is opened once, so that [`Gauge::look`] is cheap enough for each heartbeat.
#[derive(Debug)]
pub struct Gauge {
    sources: Vec<Source>,
    devices: usize,
    system: System,
}

#[cfg(target_os = "macos")]
use crate::apple::System;
#[cfg(target_os = "linux")]
use crate::linux::System;

impl Gauge {
    /// Opens what is needed to look at the devices of `inventory`.
    #[must_use]
    pub fn new(inventory: &Inventory) -> Self {
        let sources = inventory.sources.clone();
        let system = System::open(&sources);
        Self { sources, devices: inventory.devices.len(), system }
    }

    /// How things are now. What cannot be read is not known, which is no error.
    pub fn look(&mut self) -> Condition {
        let (thermal, power) = (self.system.thermal(), self.system.power());
        let mut devices: Vec<DeviceUse> =
            self.sources.iter().map(|source| self.system.device(source)).collect();
        devices.resize(self.devices, DeviceUse::default());
        Condition { thermal, power, devices }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate;

    /// A gauge goes with the task that sends heartbeats.
    const _: fn(Gauge) -> Box<dyn Send + Sync> = |gauge| Box::new(gauge);

    #[test]
    fn every_device_has_its_place_whether_it_can_be_measured_or_not() {
        let mut inventory = Inventory::default();
        inventory.devices.push(simulate("H100").unwrap().device);
        inventory.simulate(&simulate("M3 Max").unwrap());
        let mut gauge = Gauge::new(&inventory);
        assert_eq!(gauge.look().devices, [DeviceUse::default(), DeviceUse::default()]);
    }
}
