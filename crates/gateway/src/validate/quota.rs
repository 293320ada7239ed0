//! A function that asks for more than its workspace may ever have.

use metal9_store::WorkspaceLimits;
use metal9_types::{GpuRequest, Resources};

use super::refuse;
use crate::error::ApiError;

/// Refuses what could only wait for ever: one call alone is over the workspace's limit. Calls that are
/// so together wait for each other.
pub(crate) fn within(
    limits: &WorkspaceLimits,
    resources: Resources,
    gpu: &GpuRequest,
) -> Result<(), ApiError> {
    let Resources { cpu_millicores, memory_mib } = resources;
    let gpus = if gpu.is_none() { 0 } else { u64::from(gpu.count) };
    for (asked, most, what) in [
        (gpus, limits.max_gpus, "gpus"),
        (cpu_millicores, limits.max_cpu_millicores, "millicores"),
        (memory_mib, limits.max_memory_mib, "MiB of memory"),
    ] {
        if let Some(most) = most.filter(|most| asked > *most) {
            return Err(refuse(
                format!("the function asks for {asked} {what}, and its workspace may have {most}"),
                "ask for less, or have `metal9 workspace limit` allow the workspace more",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_alone_is_over_the_limit_is_refused() {
        let limits = WorkspaceLimits {
            max_gpus: Some(1),
            max_memory_mib: Some(1024),
            ..WorkspaceLimits::default()
        };
        let asks = |memory_mib, gpus| {
            let resources = Resources { cpu_millicores: 9_000, memory_mib };
            within(&limits, resources, &GpuRequest::parse("", gpus))
        };
        assert!(asks(1024, 1).is_ok());
        assert!(asks(1025, 0).unwrap_err().to_string().contains("1025 MiB of memory"));
        let refusal = asks(0, 2).unwrap_err().to_string();
        assert!(refusal.contains("2 gpus") && refusal.contains("may have 1"), "{refusal}");
    }
}
