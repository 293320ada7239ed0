//! Looking at a worker from outside: what it has joined, and whether the gateway still knows it.

use std::path::Path;
use std::time::{Duration, SystemTime};

use tonic::{Code, Status};

use crate::dial::{Dial, DialError};
use crate::gateway::Gateway;
use crate::identity::{Identity, IdentityError};
use crate::paths::Paths;

/// How long the gateway may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// What a worker has joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The worker's id.
    pub worker_id: String,
    /// Its pool.
    pub pool: String,
    /// The gateway's gRPC address.
    pub gateway: String,
    /// The fingerprint of the gateway's key, if it is known by that.
    pub fingerprint: Option<String>,
    /// When the credential was issued, in Unix seconds; 0 if that was not noted.
    pub issued_at: u64,
}

/// Reads what the worker whose state is in a directory has joined.
///
/// # Errors
/// It has not joined, or its identity cannot be read.
pub fn joined(state_dir: &Path) -> Result<Membership, IdentityError> {
    let identity = Identity::read(&Paths::new(state_dir).identity())?;
    Ok(Membership {
        worker_id: identity.worker_id,
        pool: identity.pool,
        gateway: identity.gateway,
        fingerprint: identity.fingerprint,
        issued_at: identity.issued_at,
    })
}

/// Why a gateway does not take a worker for one of its own.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// The worker has not joined.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The address is none.
    #[error("the gateway's address cannot be used")]
    Address(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Nobody answers.
    #[error("no gateway answers at {address}")]
    Unreachable {
        /// The address that was tried.
        address: String,
        /// What the connection said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Somebody answers who is not the gateway that was joined.
    #[error("who answers at {address} is not the gateway that was joined")]
    NotTrusted {
        /// The address that was tried.
        address: String,
        /// What is wrong.
        source: metal9_tls::ConnectError,
    },
    /// The gateway does not accept the credential.
    #[error("the gateway does not accept this worker: {0}")]
    Refused(String),
    /// The gateway failed.
    #[error("the gateway could not answer: {0}")]
    Failed(String),
}

impl From<DialError> for CheckError {
    fn from(error: DialError) -> Self {
        Self::Address(Box::new(error))
    }
}

/// What a gateway answered.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// How long the answer took.
    pub took: Duration,
    /// By how many seconds the gateway's clock is ahead of this machine's, if it told its time; that
    /// is in whole seconds.
    pub clock_ahead: Option<i64>,
}

/// Shows a worker's credential to its gateway, and nothing else. `gateway` is another address for
/// it; empty for the one that was joined.
///
/// # Errors
/// The gateway cannot be reached, is another one, or does not know the worker.
pub async fn check(state_dir: &Path, gateway: &str) -> Result<Answer, CheckError> {
    let identity = Identity::read(&Paths::new(state_dir).identity())?;
    let fingerprint = identity.fingerprint.as_deref();
    let dial = match gateway {
        "" => Dial::new(&identity.gateway, fingerprint)?,
        other => Dial::redirected(other, &identity.gateway, fingerprint)?,
    };
    let address = dial.address().to_string();
    dial.connect().await.map_err(|error| match error {
        Ok(source) => CheckError::NotTrusted { address: address.clone(), source },
        Err(source) => {
            CheckError::Unreachable { address: address.clone(), source: Box::new(source) }
        }
    })?;
    let client = Gateway::new(&dial, &identity.credential)
        .map_err(|error| CheckError::Address(Box::new(error)))?;
    let asked = (std::time::Instant::now(), SystemTime::now());
    let answer = tokio::time::timeout(ANSWER_WITHIN, client.confirm_with_date()).await;
    let answer = answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("it does not answer")));
    let date = answer.map_err(|status| match status.code() {
        Code::Unauthenticated | Code::PermissionDenied => {
            CheckError::Refused(status.message().to_owned())
        }
        _ => CheckError::Failed(status.message().to_owned()),
    })?;
    let clock_ahead = date.map(|date| ahead(date, asked.1));
    Ok(Answer { took: asked.0.elapsed(), clock_ahead })
}

/// By how many seconds one time is ahead of another.
fn ahead(theirs: SystemTime, ours: SystemTime) -> i64 {
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    match theirs.duration_since(ours) {
        Ok(ahead) => seconds(ahead),
        Err(behind) => -seconds(behind.duration()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_compared_in_both_directions() {
        let now = SystemTime::now();
        assert_eq!(ahead(now + Duration::from_secs(90), now), 90);
        assert_eq!(ahead(now - Duration::from_secs(90), now), -90);
    }

    #[tokio::test]
    async fn a_worker_that_has_not_joined_and_a_gateway_that_is_not_there_are_told_apart() {
        let root = tempfile::tempdir().unwrap();
        let error = check(root.path(), "").await.unwrap_err();
        assert!(matches!(error, CheckError::Identity(IdentityError::NotJoined(_))), "{error}");
        let identity =
            r#"{"worker_id": "w", "credential": "c", "pool": "p", "gateway": "127.0.0.1:1"}"#;
        std::fs::write(root.path().join("worker.json"), identity).unwrap();
        assert_eq!(joined(root.path()).unwrap().pool, "p");
        let error = check(root.path(), "").await.unwrap_err();
        assert!(matches!(error, CheckError::Unreachable { .. }), "{error}");
    }
}
