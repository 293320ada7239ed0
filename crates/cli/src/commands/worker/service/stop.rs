//! `metal9 worker stop`.

use std::time::Duration;

use anyhow::anyhow;
use metal9_service::plans;

use super::{apply, find};
use crate::context::Context;
use crate::failure::Failure;
use crate::talk::Spinner;

/// How often to ask whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Stops the service and waits for its end: the service manager kills it when it takes too long.
///
/// # Errors
///
/// If there is none or it does not run, or the service manager refuses.
pub(super) fn run(context: &Context) -> Result<(), Failure> {
    let place = find::installed()?;
    let standing = find::standing(&place)?;
    if !standing.running {
        let error = anyhow!("the service does not run; it is {}", standing.state);
        return Err(Failure::request(error).hint("`metal9 worker start` starts it"));
    }
    let spinner = Spinner::start("waiting for running calls");
    apply::apply(&plans::stop(&place))
        .map_err(|failure| failure.context(format!("cannot stop the {place}")))?;
    let ended = loop {
        let now = find::standing(&place)?;
        // Another process means that this one has ended and somebody has started it again.
        if !now.running || now.pid != standing.pid {
            break now;
        }
        std::thread::sleep(LOOK_EVERY);
    };
    drop(spinner);
    context.output.show(&ended, || {
        "stopped; it starts again with `metal9 worker start`, or at the next boot or login\n".into()
    })
}
