//! Jobs on the fleet of one run.

use anyhow::Result;
use serde_json::Value;

use super::client::{Ask, Call, Client, End};

/// Where jobs run: the code and the environment that they have in common.
#[derive(Clone, Debug)]
pub(super) struct Jobs {
    pub(super) client: Client,
    pub(super) object: String,
    pub(super) image: String,
}

impl Jobs {
    /// Starts a job.
    pub(super) async fn start(&self, ask: &Ask, arguments: Value) -> Result<Call> {
        // Clients of generated code are large.
        let stub = Box::pin(self.client.stub(ask, &self.object, &self.image)).await?;
        Box::pin(self.client.call(&stub, arguments)).await
    }

    /// Runs a job to its end.
    pub(super) async fn run(&self, ask: &Ask, arguments: Value) -> Result<End> {
        self.start(ask, arguments).await?.end().await
    }

    /// The same in another environment.
    pub(super) fn with_image(&self, image: String) -> Self {
        Self { image, ..self.clone() }
    }
}
