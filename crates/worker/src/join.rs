//! Becoming a worker of a gateway.

use metal9_proto::worker as wire;
use tonic::Status;

use crate::dial::{Dial, DialError};
use crate::identity::{Identity, IdentityError, unix_now};
use crate::machine;
use crate::options::JoinOptions;
use crate::paths::Paths;

/// Why a worker could not join.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The address is none.
    #[error("the gateway's address cannot be used")]
    Address(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Nobody answers at the address.
    #[error("no gateway answers at {address}")]
    Unreachable {
        /// The address that was tried.
        address: String,
        /// What the connection said.
        source: tonic::transport::Error,
    },
    /// Somebody answers at the address, who is not the gateway that is meant. Nothing was sent.
    #[error("the join token was not sent to {address}")]
    NotTrusted {
        /// The address that was tried.
        address: String,
        /// What is wrong.
        source: metal9_tls::ConnectError,
    },
    /// The gateway does not take the token.
    #[error("the gateway refused the join token: {0}")]
    Refused(String),
    /// The gateway failed.
    #[error("the gateway at {address} could not answer: {message}")]
    Failed {
        /// Its address.
        address: String,
        /// What it said.
        message: String,
    },
    /// The identity could not be kept.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl From<DialError> for JoinError {
    fn from(error: DialError) -> Self {
        Self::Address(Box::new(error))
    }
}

impl JoinError {
    /// What the person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotTrusted { source, .. } => source.hint(),
            Self::Unreachable { .. } | Self::Failed { .. } => Some(
                "is the gateway running? One that speaks TLS is named with --fingerprint, or as \
                 https://HOST:PORT",
            ),
            Self::Refused(_) => Some("make a new join token with `metal9 token join`"),
            Self::Address(source) => source.downcast_ref::<DialError>().and_then(DialError::hint),
            _ => None,
        }
    }
}

/// What a worker has become.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Joined {
    /// Its id.
    pub worker_id: String,
    /// The pool it belongs to.
    pub pool: String,
}

/// Exchanges a join token for an identity and writes that to `state_dir/worker.json`, which only
/// its owner may read. An identity that is there already is replaced.
///
/// # Errors
/// The gateway cannot be reached or refuses, or the file cannot be written.
pub async fn join(options: &JoinOptions) -> Result<Joined, JoinError> {
    let address = &options.gateway;
    let dial = Dial::new(address, options.fingerprint.as_deref())?;
    // Who the gateway is has been checked when this is there, and the token goes nowhere before.
    let channel = dial.connect().await.map_err(|error| match error {
        Ok(source) => JoinError::NotTrusted { address: address.clone(), source },
        Err(source) => JoinError::Unreachable { address: address.clone(), source },
    })?;
    let request = wire::JoinRequest {
        token: options.token.clone(),
        hostname: machine::hostname(),
        pool: options.pool.clone(),
    };
    let answer = metal9_proto::worker_client(channel)
        .join(request)
        .await
        .map_err(|status| refusal(address, &status))?
        .into_inner();
    let identity = Identity {
        worker_id: answer.worker_id,
        credential: answer.credential,
        pool: answer.pool,
        gateway: address.clone(),
        fingerprint: options.fingerprint.clone(),
        previous: None,
        issued_at: unix_now(),
    };
    identity.write(&Paths::new(&options.state_dir).identity())?;
    Ok(Joined { worker_id: identity.worker_id, pool: identity.pool })
}

fn refusal(address: &str, status: &Status) -> JoinError {
    use tonic::Code;
    let message = status.message().to_owned();
    match status.code() {
        Code::Unauthenticated
        | Code::PermissionDenied
        | Code::InvalidArgument
        | Code::NotFound
        | Code::ResourceExhausted
        | Code::FailedPrecondition => JoinError::Refused(message),
        _ => JoinError::Failed { address: address.to_owned(), message },
    }
}
