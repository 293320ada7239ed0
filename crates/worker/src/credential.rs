//! Keeping the worker's credential fresh.
//!
//! A crash between any two steps leaves a credential that the gateway takes:
//!
//! 1. The gateway keeps the new credential beside the old one, then tells it.
//! 2. The worker writes both to its identity, the new one first in line.
//! 3. It uses the new one. Now the gateway forgets the old one.
//! 4. The worker forgets the old one.
//!
//! Before 2 the worker knows only the old one, which is good. From 2 on it tries the new one, which
//! the gateway has kept since 1; should the gateway not know it, as after a restore from a copy of
//! its state, the worker goes back to the old one.

use std::path::PathBuf;
use std::time::Duration;

use metal9_tasks::CancellationToken;
use tonic::{Code, Status};

use crate::backoff::Backoff;
use crate::gateway::Gateway;
use crate::identity::{Identity, IdentityError, unix_now};

/// How often to look at the clock, which may be put forward or stop with the machine.
const LOOK_EVERY: Duration = Duration::from_secs(600);

/// Why a credential is not replaced yet.
#[derive(Debug, thiserror::Error)]
enum RotationError {
    #[error("the gateway could not be asked: {} ({:?})", .0.message(), .0.code())]
    Gateway(Status),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Credential(#[from] crate::gateway::CredentialError),
}

/// The worker's identity, its file, and the connection that uses it.
pub(crate) struct Credential {
    path: PathBuf,
    identity: Identity,
    gateway: Gateway,
    /// How old it may get.
    age: Option<Duration>,
}

impl Credential {
    pub(crate) fn new(
        path: PathBuf,
        identity: Identity,
        gateway: Gateway,
        age: Option<Duration>,
    ) -> Self {
        Self { path, identity, gateway, age }
    }

    /// Replaces the credential when it is old and when the gateway asks for it.
    pub(crate) async fn keep_fresh(mut self, shutdown: CancellationToken) {
        let mut backoff = Backoff::new(Duration::from_secs(60));
        let mut wanted = false;
        loop {
            let unconfirmed = self.identity.previous.is_some();
            if !unconfirmed && !wanted && !self.is_old() {
                tokio::select! {
                    () = self.gateway.rotation_wanted() => wanted = true,
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                    () = shutdown.cancelled() => return,
                }
                continue;
            }
            let step =
                async { if unconfirmed { self.confirm().await } else { self.rotate().await } };
            let done = tokio::select! {
                done = step => done,
                () = shutdown.cancelled() => return,
            };
            match done {
                Ok(()) if unconfirmed => {
                    wanted = false;
                    backoff.reset();
                }
                Ok(()) => {}
                Err(error) => {
                    let error = crate::errors::chain(&error);
                    tracing::warn!(error, "the worker's credential is not replaced yet");
                    tokio::select! {
                        () = tokio::time::sleep(backoff.next()) => {}
                        () = shutdown.cancelled() => return,
                    }
                }
            }
        }
    }

    fn is_old(&self) -> bool {
        let Some(age) = self.age else { return false };
        unix_now().saturating_sub(self.identity.issued_at) >= age.as_secs()
    }

    /// Steps 1 and 2.
    async fn rotate(&mut self) -> Result<(), RotationError> {
        let credential = self.gateway.rotate().await.map_err(RotationError::Gateway)?;
        let mut identity = self.identity.clone();
        identity.previous = Some(std::mem::replace(&mut identity.credential, credential));
        identity.issued_at = unix_now();
        self.keep(identity)
    }

    /// Steps 3 and 4, or back to the old one.
    async fn confirm(&mut self) -> Result<(), RotationError> {
        let mut identity = self.identity.clone();
        let previous = identity.previous.take();
        match self.gateway.confirm().await {
            Ok(()) => {
                self.keep(identity)?;
                tracing::info!("the worker has a new credential");
                Ok(())
            }
            Err(status) if status.code() == Code::Unauthenticated => {
                tracing::warn!("the gateway does not know the new credential; back to the old one");
                if let Some(previous) = previous {
                    identity.credential = previous;
                }
                self.keep(identity)
            }
            Err(status) => Err(RotationError::Gateway(status)),
        }
    }

    /// Writes the identity, and uses its credential from then on.
    fn keep(&mut self, identity: Identity) -> Result<(), RotationError> {
        identity.write(&self.path)?;
        self.gateway.use_credential(&identity.credential)?;
        self.identity = identity;
        Ok(())
    }
}
