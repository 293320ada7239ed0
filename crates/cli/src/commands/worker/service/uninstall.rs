//! `metal9 worker uninstall`.

use metal9_service::plans;
use serde_json::json;

use super::{apply, find};
use crate::context::Context;
use crate::failure::Failure;

/// Stops the service and removes it.
///
/// # Errors
///
/// If there is none, or the service manager refuses.
pub(super) fn run(context: &Context) -> Result<(), Failure> {
    let place = find::installed()?;
    let before = std::fs::read_to_string(place.file()).ok();
    apply::apply(&plans::uninstall(&place, before.as_deref()))
        .map_err(|failure| failure.context(format!("cannot remove the {place}")))?;
    context.output.show(&json!({ "file": place.file() }), || {
        format!("removed the {place}; the worker's state and its place in the fleet are kept\n")
    })
}
