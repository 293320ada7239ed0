//! Who holds a worker's accelerators, and when they are to rest.

use metal9_types::{ContainerId, OnBattery, Power, Thermal};

use super::{Reservation, Worker};

/// A container that holds an accelerator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) container: ContainerId,
    /// What it asked for; counts against the accelerator's own budget too.
    pub(crate) memory_mib: u64,
}

/// Why a worker begins less than it could.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strain {
    /// It is too hot.
    Hot,
    /// It runs on a battery, and is set not to work then.
    OnBattery,
}

impl Worker {
    /// `true` if one more job that asks for so much memory can use the device beside the
    /// containers and promises that count.
    pub(crate) fn device_fits(
        &self,
        device: usize,
        memory_mib: u64,
        holds: impl Fn(ContainerId) -> bool,
        counts: impl Fn(usize, &Reservation) -> bool,
    ) -> bool {
        let (Some(offered), Some(holders)) =
            (self.offer.devices.get(device), self.holders.get(device))
        else {
            return false;
        };
        let held = holders.iter().filter(|holder| holds(holder.container));
        let held = held.map(|holder| holder.memory_mib);
        let promised = self.reservations.iter().enumerate();
        let promised = promised.filter(|(_, promise)| promise.devices.contains(&device));
        let promised = promised.filter(|(index, promise)| counts(*index, promise));
        let promised = promised.map(|(_, promise)| promise.resources.memory_mib);
        let (mut seats, mut memory) = (1, memory_mib);
        for taken in held.chain(promised) {
            seats += 1;
            memory = memory.saturating_add(taken);
        }
        seats <= offered.seats() && offered.has_memory(memory)
    }

    /// Gives a device to a container.
    pub(crate) fn take_device(&mut self, device: usize, holder: Holder) {
        if let Some(holders) = self.holders.get_mut(device) {
            holders.push(holder);
        }
    }

    /// How many devices could take one more job, were it small enough.
    pub(crate) fn open_devices(&self) -> usize {
        let devices = self.offer.devices.iter().zip(&self.holders);
        devices.filter(|(device, holders)| holders.len() < device.seats()).count()
    }

    /// `true` if a job could be given a device now, were it small enough.
    pub(crate) fn has_open_device(&self) -> bool {
        let mut devices = self.offer.devices.iter().zip(&self.holders);
        !self.gpus_rest && devices.any(|(device, holders)| holders.len() < device.seats())
    }

    /// Takes note of how the machine is doing.
    pub(crate) fn set_condition(&mut self, thermal: Option<Thermal>, power: Option<Power>) {
        (self.thermal, self.power) = (thermal, power);
        self.rests = self.strain(false).is_some();
        self.gpus_rest = self.strain(true).is_some();
    }

    /// Why nothing is to begin on it, or nothing that uses an accelerator.
    pub(crate) fn strain(&self, gpu: bool) -> Option<Strain> {
        strain(self.offer.on_battery, self.thermal, self.power, gpu)
    }
}

/// Why a worker of which this is known is to begin nothing, or nothing that uses an accelerator.
pub(crate) fn strain(
    on_battery: OnBattery,
    thermal: Option<Thermal>,
    power: Option<Power>,
    gpu: bool,
) -> Option<Strain> {
    let most = if gpu { Thermal::Heavy } else { Thermal::Trapping };
    if thermal.is_some_and(|thermal| thermal >= most) {
        return Some(Strain::Hot);
    }
    let works = match on_battery {
        OnBattery::Run => true,
        OnBattery::NoGpu => !gpu,
        OnBattery::Rest => false,
    };
    (power == Some(Power::Battery) && !works).then_some(Strain::OnBattery)
}
