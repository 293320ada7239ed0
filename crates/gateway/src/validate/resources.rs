//! Processor and memory.

use metal9_types::Resources;

use super::refuse;
use crate::error::ApiError;

/// More processor than any machine has; a typing mistake rather than a wish.
pub(crate) const MAX_MILLICORES: i64 = 4_096_000;
/// More memory than any machine has, in MiB.
pub(crate) const MAX_MEMORY_MIB: i64 = 64 * 1024 * 1024;

/// Checks a request in millicores and MiB. One that no worker of today can meet is accepted, since
/// a larger worker may join.
pub(crate) fn resources(cpu: i64, memory: i64) -> Result<Resources, ApiError> {
    Ok(Resources {
        cpu_millicores: within(cpu, MAX_MILLICORES, "cpu", "millicores")?,
        memory_mib: within(memory, MAX_MEMORY_MIB, "memory", "MiB")?,
    })
}

fn within(number: i64, most: i64, what: &str, unit: &str) -> Result<u64, ApiError> {
    match u64::try_from(number) {
        Ok(value) if number <= most => Ok(value),
        Ok(_) => Err(refuse(
            format!("{what} of {number} {unit} is more than any machine has (limit {most} {unit})"),
            &format!("ask for less; `metal9 status` shows the {what} of the workers there are"),
        )),
        Err(_) => Err(refuse(
            format!("{what} cannot be negative (got {number} {unit})"),
            &format!("ask for the {what} one call needs, in {unit}"),
        )),
    }
}
