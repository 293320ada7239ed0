//! `metal9 probe-metal`, hidden: what Metal says, from a process that does nothing else.

use metal9_device::probe;

use crate::failure::Failure;
use crate::output;

/// Prints a report as JSON.
///
/// # Errors
///
/// If stdout cannot be written to.
pub(crate) fn run() -> Result<(), Failure> {
    let report = serde_json::to_string(&probe::ask_metal()).map_err(Failure::ours)?;
    output::print(format!("{report}\n").as_bytes())
}
