//! What CUDA calls a device.

use crate::Inventory;
use crate::inventory::Source;

impl Inventory {
    /// The name by which CUDA's `CUDA_VISIBLE_DEVICES` selects the device at this place; nothing if
    /// it is none of NVIDIA's, or simulated.
    #[must_use]
    pub fn cuda_name(&self, device: usize) -> Option<&str> {
        match self.sources.get(device)? {
            Source::Nvml(uuid) => Some(uuid),
            Source::Registry(_) | Source::Simulated => None,
        }
    }

    /// Takes those of NVIDIA's devices away that jobs cannot have, with a note: `why_not` says why, of
    /// the name that CUDA has for it.
    pub fn withhold(&mut self, why_not: impl Fn(&str) -> Option<String>) {
        for place in (0..self.devices.len()).rev() {
            let Some(name) = self.cuda_name(place) else { continue };
            let Some(reason) = why_not(name) else { continue };
            let called = self.devices[place].name();
            let note = format!("{called} ({name}) is not offered: {reason}");
            self.devices.remove(place);
            self.sources.remove(place);
            self.note(note);
        }
    }
}

#[cfg(test)]
mod tests {
    use metal9_types::Vendor;

    use super::*;
    use crate::inventory::device;

    #[test]
    fn a_device_is_called_by_its_uuid() {
        let mut inventory = Inventory::default();
        let t4 = device(Vendor::Nvidia, ("T4", ""), 2560, 15_360);
        inventory.add(t4, Source::Nvml("GPU-7".into()));
        inventory.simulate(&crate::simulate("T4").unwrap());
        let names: Vec<_> = (0..3).map(|place| inventory.cuda_name(place)).collect();
        assert_eq!(names, [Some("GPU-7"), None, None]);
    }

    #[test]
    fn a_device_that_jobs_cannot_have_is_taken_away_and_told() {
        let mut inventory = Inventory::default();
        for name in ["GPU-7", "GPU-8"] {
            let t4 = device(Vendor::Nvidia, ("T4", ""), 2560, 15_360);
            inventory.add(t4, Source::Nvml(name.into()));
        }
        inventory.simulate(&crate::simulate("T4").unwrap());
        inventory.withhold(|name| (name == "GPU-7").then(|| "nobody names it".to_owned()));
        assert_eq!(inventory.machine.notes, ["T4 (GPU-7) is not offered: nobody names it"]);
        assert_eq!((inventory.devices.len(), inventory.cuda_name(0)), (2, Some("GPU-8")));
    }
}
