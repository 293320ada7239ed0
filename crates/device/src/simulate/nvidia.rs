//! NVIDIA's models, to simulate them.

use metal9_types::Vendor;

use super::Simulated;
use crate::inventory::device;
use crate::nvidia::kind;

/// Name, product as the driver calls it, CUDA cores by the maker's specification, and MiB as the
/// driver reports them.
const MODELS: [(&str, &str, u32, u64); 20] = [
    ("T4", "Tesla T4", 2_560, 15_360),
    ("L4", "NVIDIA L4", 7_424, 23_034),
    ("L40S", "NVIDIA L40S", 18_176, 46_068),
    ("A10", "NVIDIA A10", 9_216, 23_028),
    ("A10G", "NVIDIA A10G", 9_216, 23_028),
    ("A30", "NVIDIA A30", 3_584, 24_576),
    ("A40", "NVIDIA A40", 10_752, 46_068),
    ("A100", "NVIDIA A100-SXM4-40GB", 6_912, 40_960),
    ("A100-40", "NVIDIA A100-SXM4-40GB", 6_912, 40_960),
    ("A100-80", "NVIDIA A100-SXM4-80GB", 6_912, 81_920),
    ("H100", "NVIDIA H100 80GB HBM3", 16_896, 81_559),
    ("H200", "NVIDIA H200", 16_896, 143_771),
    ("B200", "NVIDIA B200", 18_944, 183_359),
    ("V100", "Tesla V100-SXM2-16GB", 5_120, 16_384),
    ("P100", "Tesla P100-PCIE-16GB", 3_584, 16_280),
    ("A6000", "NVIDIA RTX A6000", 10_752, 49_140),
    ("RTX3090", "NVIDIA GeForce RTX 3090", 10_496, 24_576),
    ("RTX4080", "NVIDIA GeForce RTX 4080", 9_728, 16_376),
    ("RTX4090", "NVIDIA GeForce RTX 4090", 16_384, 24_564),
    ("RTX5090", "NVIDIA GeForce RTX 5090", 21_760, 32_607),
];

/// Every model by name.
pub(super) fn all() -> impl Iterator<Item = (&'static str, Simulated)> {
    MODELS.iter().map(|&(name, product, cores, memory_mib)| {
        let (family, variant) = kind(product, memory_mib);
        let simulated = Simulated {
            device: device(Vendor::Nvidia, (&family, variant), cores, memory_mib),
            total_memory_mib: memory_mib,
            recommended_working_set_mib: memory_mib,
            basis: "the maker's specification",
        };
        (name, simulated)
    })
}
