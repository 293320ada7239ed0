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
}
