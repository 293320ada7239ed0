//! Holding a container to the networks that its function may reach.

use metal9_sandbox::Network;
use metal9_types::{Failure, FailureKind};

use crate::container::{Container, Makings};
use crate::runner::Runner;

impl Container {
    /// Holds a runner in which nothing of the function has run yet to what it may reach: to its list, if it
    /// has one.
    pub(super) async fn hold(&self, makings: &Makings, runner: &Runner) -> Result<(), Failure> {
        if let Some(network) = &runner.own_network {
            // A spare runner may have waited for long.
            network.check().await.map_err(|error| {
                let text =
                    format!("the container could not be kept from its worker's machine: {error}");
                Failure::new(FailureKind::Internal, text)
            })?;
        }
        let Some(list) = &self.spec.allow_list else { return Ok(()) };
        let Some(network) = &runner.own_network else {
            // Whoever reaches nothing reaches nothing beside the list.
            if makings.launcher.guard.network().max(self.spec.network) != Network::Full {
                return Ok(());
            }
            let text = "the function has an `allow_list`, and jobs on this worker have no network of \
                        their own that could be held to it";
            return Err(Failure::new(FailureKind::Setup, text));
        };
        let held = network.hold_to(list).await;
        held.map_err(|error| {
            let text = format!("the container's network could not be held to the list: {error}");
            Failure::new(FailureKind::Internal, text)
        })
    }
}
