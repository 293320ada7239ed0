//! Looking again for a GPU that could not be used when the worker started.
//!
//! Right after a Mac has started, the compiler of shaders may be slow, and a probe that waits for it
//! gives up. Nobody sits at a machine without a screen to start the worker anew.

use std::sync::Arc;
use std::time::Duration;

use metal9_types::{Device, Offer};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Found, look};
use crate::container::Tools;
use crate::errors::chain;
use crate::event::Event;
use crate::options::Options;

const MINUTE: u64 = 60;

/// The pauses before the first looks; all others wait for [`LATER`].
const FIRST: [Duration; 3] =
    [Duration::from_secs(MINUTE), Duration::from_secs(2 * MINUTE), Duration::from_secs(5 * MINUTE)];

const LATER: Duration = Duration::from_secs(15 * MINUTE);

/// The pauses between looks, which have no end.
fn pauses(all: Option<Duration>) -> impl Iterator<Item = Duration> {
    let usual = FIRST.into_iter().chain(std::iter::repeat(LATER));
    usual.map(move |pause| all.unwrap_or(pause))
}

/// Looks again and again for a GPU that is withheld, and offers it once it can be used. `pause` is
/// how long to wait each time, if not as long as usual.
pub(crate) async fn keep_looking(
    tools: Arc<Tools>,
    options: Options,
    pause: Option<Duration>,
    offer: watch::Sender<Offer>,
    shutdown: CancellationToken,
) {
    for pause in pauses(pause) {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.cancelled() => return,
        }
        let Some(found) = look_once(&tools, &options).await else { return };
        match found {
            Some(found) => return Box::pin(give(&tools, found, &offer)).await,
            None => tracing::debug!("the GPU still cannot be used"),
        }
    }
}

/// What the machine has if its GPU can be used now; nothing at all if the worker is ending.
async fn look_once(tools: &Tools, options: &Options) -> Option<Option<Found>> {
    let makings = tools.workshop.makings()?;
    let launcher = &makings.launcher;
    let unseen = match launcher.guard.gpu_obstacle(&launcher.shim, &launcher.containers).await {
        Ok(unseen) => unseen,
        Err(error) => Some(chain(&error)),
    };
    let found = look(options, unseen, &launcher.guard).await?;
    match found {
        Ok(found) => Some((!found.withheld).then_some(found)),
        Err(error) => {
            tracing::warn!(error = chain(&error), "the machine cannot be looked at");
            Some(None)
        }
    }
}

/// Lets jobs have what was found, and tells the gateway by another hello.
async fn give(tools: &Tools, found: Found, offer: &watch::Sender<Offer>) {
    let Found { machine, equipment, gauge, .. } = found;
    let devices = equipment.devices.clone();
    let names: Vec<String> = devices.iter().map(Device::name).collect();
    tracing::info!(?names, "the GPU can be used now, and is offered");
    tools.equipment.replace(equipment);
    offer.send_modify(|offer| (offer.machine, offer.devices) = (machine, devices));
    // Last: a gateway takes figures of no more devices than it was offered.
    if tools.events.send(Event::Measured(Box::new(gauge))).await.is_err() {
        tracing::debug!("the worker is ending");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_come_later_and_later() {
        let minutes: Vec<u64> =
            pauses(None).take(6).map(|pause| pause.as_secs() / MINUTE).collect();
        assert_eq!(minutes, [1, 2, 5, 15, 15, 15]);
    }
}
