//! What Metal says in this process, and whether it computes.
//!
//! That a device is listed means little: in a sandbox without the driver's connection, or without
//! the service that compiles shaders, all else fails. So each computes something small, whose result
//! is compared.

mod calls;

use calls::{Metal, Object};

use super::{MetalDevice, Report};

/// The families that say which features a GPU has, by the names used here (`MTLGPUFamily` of Metal's
/// headers).
const FAMILIES: [(&str, isize); 8] = [
    ("apple7", 1007),
    ("apple8", 1008),
    ("apple9", 1009),
    ("apple10", 1010),
    ("mac2", 2002),
    ("common3", 3003),
    ("metal3", 5001),
    ("metal4", 5002),
];

/// Each thread writes one number.
const SOURCE: &str = "kernel void fill(device uint *out [[buffer(0)]],
                                       uint at [[thread_position_in_grid]]) {
    out[at] = at * 2654435761u + 7u;
}";

/// The numbers that are computed: as many threads as every GPU runs in one group.
const COUNT: u32 = 64;

/// Asks for all devices: the default one is not given to a process without a window.
pub(super) fn ask() -> Report {
    let metal = match Metal::load() {
        Ok(metal) => metal,
        Err(error) => {
            let reason = Some(format!("Metal cannot be loaded: {error}"));
            return Report { devices: Vec::new(), reason };
        }
    };
    let devices: Vec<MetalDevice> = metal.devices().into_iter().map(describe).collect();
    let reason = devices.is_empty().then(|| {
        "MTLCopyAllDevices lists no device: a virtual machine, or a sandbox that denies the GPU"
            .to_owned()
    });
    Report { devices, reason }
}

fn describe(device: Object<'_>) -> MetalDevice {
    let computed = compute(device);
    MetalDevice {
        name: device.name(),
        registry_id: device.registry_id(),
        has_unified_memory: device.has_unified_memory(),
        recommended_max_working_set: device.recommended_max_working_set(),
        max_buffer_length: device.max_buffer_length(),
        architecture: device.architecture(),
        families: FAMILIES
            .iter()
            .filter(|(_, family)| device.supports(*family))
            .map(|(name, _)| (*name).to_owned())
            .collect(),
        computes: computed.is_ok(),
        reason: computed.err(),
    }
}

/// Computes something on a device, or says at which step that went wrong.
fn compute(device: Object<'_>) -> Result<(), String> {
    let queue = device.new_command_queue().ok_or("it makes no command queue")?;
    let buffer = device.new_buffer(COUNT as usize * size_of::<u32>());
    let buffer = buffer.ok_or("it has no memory for a buffer")?;
    let library = device.new_library(SOURCE);
    let library = library.map_err(|error| format!("no kernel can be compiled: {error}"))?;
    let function = library.new_function("fill").ok_or("the compiled kernel is not there")?;
    let pipeline = device.new_pipeline(function);
    let pipeline = pipeline.map_err(|error| format!("no kernel can be made ready: {error}"))?;
    queue
        .run(pipeline, buffer, COUNT as usize)
        .map_err(|error| format!("a kernel does not run: {error}"))?;
    let found = buffer.words(COUNT as usize);
    let expected = (0..COUNT).map(|at| at.wrapping_mul(2_654_435_761).wrapping_add(7));
    if found.into_iter().eq(expected) {
        return Ok(());
    }
    Err("a kernel has computed something else than the processor".to_owned())
}
