//! Becoming a worker of a gateway.

use metal9_proto::worker as wire;
use tonic::Status;

use crate::gateway::{self, AddressError};
use crate::identity::{Identity, IdentityError};
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

impl From<AddressError> for JoinError {
    fn from(error: AddressError) -> Self {
        Self::Address(Box::new(error))
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
    let channel = gateway::endpoint(address)?
        .connect()
        .await
        .map_err(|source| JoinError::Unreachable { address: address.clone(), source })?;
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
        | Code::FailedPrecondition => JoinError::Refused(message),
        _ => JoinError::Failed { address: address.to_owned(), message },
    }
}
