//! Accelerators.

use metal9_types::{Device, GpuRequest, GpuSelector};

use super::{refuse, shown};
use crate::error::ApiError;

/// Accelerators of one container at most; no machine has more.
pub(crate) const MAX_COUNT: u32 = 64;
/// Alternatives that one stub can name.
pub(crate) const MAX_NAMES: usize = 64;

/// Names that mean something although no worker has such a device yet: those the SDK offers,
/// Apple's, and NVIDIA's usual others. Only letters and digits count.
const KNOWN: [&str; 61] = [
    "any",
    "MPS",
    "METAL",
    "APPLE",
    "T4",
    "L4",
    "L40",
    "L40S",
    "A2",
    "A10",
    "A10G",
    "A16",
    "A30",
    "A40",
    "A100",
    "A100-40",
    "A100-80",
    "H100",
    "H200",
    "GH200",
    "B100",
    "B200",
    "GB200",
    "B300",
    "GB300",
    "GAUDI2",
    "GAUDI3",
    "A2000",
    "A4000",
    "A4500",
    "A5000",
    "A5500",
    "A6000",
    "RTX2080",
    "RTX2080Ti",
    "RTX3060",
    "RTX3070",
    "RTX3080",
    "RTX3090",
    "RTX3090Ti",
    "RTX4060",
    "RTX4070",
    "RTX4080",
    "RTX4090",
    "RTX5070",
    "RTX5080",
    "RTX5090",
    "RTX4000Ada",
    "RTX4500Ada",
    "RTX5000Ada",
    "RTX6000",
    "RTX6000Ada",
    "RTXPro6000",
    "P4",
    "P100",
    "P40",
    "V100",
    "V100-16",
    "V100-32",
    "TITANV",
    "GB10",
];

/// How alike two names must be for one to be offered in place of the other.
const ALIKE: f64 = 0.6;

/// Checks the client API's `gpu` and `gpu_count`. A name that is not known is accepted if one of
/// `devices`, those that workers have, is called so.
pub(crate) fn request(gpu: &str, count: u32, devices: &[Device]) -> Result<GpuRequest, ApiError> {
    if count > MAX_COUNT {
        return Err(refuse(
            format!("gpu_count of {count} is more than any machine has (limit {MAX_COUNT})"),
            "ask for the accelerators of one container; more containers run on more of them",
        ));
    }
    let names: Vec<&str> = gpu.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    if names.len() > MAX_NAMES {
        let what = format!("{} kinds of gpu are more than the limit of {MAX_NAMES}", names.len());
        return Err(refuse(what, "use `gpu=\"any\"` if any of them will do"));
    }
    if let Some(unknown) = names.iter().find(|name| !is_known(name, devices)) {
        let offer = match nearest(unknown) {
            Some(known) => format!("did you mean `{known}`? "),
            None => String::new(),
        };
        return Err(refuse(
            format!("gpu `{}` is no accelerator that metal9 knows or a worker has", shown(unknown)),
            &format!(
                "{offer}use `MPS` or a family as `M3Max` for Apple's, a model as `H100` for \
                 NVIDIA's, or `any`"
            ),
        ));
    }
    Ok(GpuRequest::parse(gpu, count))
}

/// `true` if [`request`] needs to be told of the devices there are.
pub(crate) fn has_unknown(gpu: &str) -> bool {
    gpu.split(',').map(str::trim).any(|name| !name.is_empty() && !is_known(name, &[]))
}

fn is_known(name: &str, devices: &[Device]) -> bool {
    // `0` and names without letters mean no accelerator.
    let Some(selector) = GpuSelector::parse(name) else { return true };
    selector.is_apple()
        || KNOWN.iter().any(|known| GpuSelector::parse(known).as_ref() == Some(&selector))
        || devices.iter().any(|device| selector.matches(device))
}

fn nearest(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_uppercase();
    let alike =
        |known: &&str| strsim::normalized_damerau_levenshtein(&name, &known.to_ascii_uppercase());
    let best = KNOWN.iter().max_by(|a, b| alike(a).total_cmp(&alike(b)))?;
    (alike(best) >= ALIKE).then_some(best)
}
