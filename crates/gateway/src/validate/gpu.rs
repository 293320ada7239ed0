//! Accelerators.

use metal9_types::{Device, GpuRequest, GpuSelector, gpu_names};

use super::{refuse, shown};
use crate::error::ApiError;

/// Accelerators of one container at most; no machine has more.
pub(crate) const MAX_COUNT: u32 = 64;
/// Alternatives that one stub can name.
pub(crate) const MAX_NAMES: usize = 64;

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
        let offer = match gpu_names::nearest_known(unknown) {
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
        || gpu_names::is_known(&selector)
        || devices.iter().any(|device| selector.matches(device))
}
