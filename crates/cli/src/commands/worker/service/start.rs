//! `metal9 worker start`.

use metal9_service::plans;

use super::{apply, find};
use crate::context::Context;
use crate::failure::Failure;

/// Starts the service.
///
/// # Errors
///
/// If there is none, or the service manager refuses.
pub(super) fn run(context: &Context) -> Result<(), Failure> {
    let place = find::installed()?;
    apply::apply(&plans::start(&place))
        .map_err(|failure| failure.context(format!("cannot start the {place}")))?;
    let standing = find::standing(&place)?;
    context.output.show(&standing, || format!("started; it is {}\n", standing.state))
}
