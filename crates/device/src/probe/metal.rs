//! What Metal says in this process.

use objc2_metal::{MTLCopyAllDevices, MTLDevice, MTLGPUFamily};

use super::{MetalDevice, Report};

/// The families that say which features a GPU has, by the names used here.
const FAMILIES: [(&str, MTLGPUFamily); 8] = [
    ("apple7", MTLGPUFamily::Apple7),
    ("apple8", MTLGPUFamily::Apple8),
    ("apple9", MTLGPUFamily::Apple9),
    ("apple10", MTLGPUFamily::Apple10),
    ("mac2", MTLGPUFamily::Mac2),
    ("common3", MTLGPUFamily::Common3),
    ("metal3", MTLGPUFamily::Metal3),
    ("metal4", MTLGPUFamily::Metal4),
];

/// Asks for all devices: the default one is not given to a process without a window.
pub(super) fn ask() -> Report {
    let devices: Vec<MetalDevice> = MTLCopyAllDevices()
        .iter()
        .map(|device| MetalDevice {
            name: device.name().to_string(),
            registry_id: device.registryID(),
            has_unified_memory: device.hasUnifiedMemory(),
            recommended_max_working_set: device.recommendedMaxWorkingSetSize(),
            max_buffer_length: device.maxBufferLength() as u64,
            architecture: device.architecture().name().to_string(),
            families: FAMILIES
                .iter()
                .filter(|(_, family)| device.supportsFamily(*family))
                .map(|(name, _)| (*name).to_owned())
                .collect(),
        })
        .collect();
    let reason = devices.is_empty().then(|| {
        "MTLCopyAllDevices lists no device: a virtual machine, or a sandbox that denies the GPU"
            .to_owned()
    });
    Report { devices, reason }
}
