//! How failures are told to clients: one table for gRPC, one for HTTP.

use std::time::Duration;

use metal9_store::StoreError;
use metal9_types::Tier;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

/// A request that could not be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// No token, or one that is unknown, revoked or of the wrong kind.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// The token is known, but not for this.
    #[error("{0}")]
    Forbidden(&'static str),
    /// What was named does not exist.
    #[error("{kind} `{id}` does not exist in this workspace{}", hint_for(kind))]
    NotFound {
        /// What kind of thing.
        kind: &'static str,
        /// Its name as given.
        id: String,
    },
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The request makes sense, but not as things are.
    #[error("{0}")]
    Conflict(String),
    /// The request is over a limit.
    #[error("{0}")]
    Limit(String),
    /// The gateway has no room for the request now.
    #[error("{text}")]
    Exhausted {
        /// What, why and what to do.
        text: String,
        /// When it makes sense to ask again.
        retry_after: Duration,
    },
    /// The gateway is stopping or not ready.
    #[error("{0}")]
    Unavailable(&'static str),
    /// The file system of the volumes is not there.
    #[error("the file system of the volumes does not work: {0}")]
    VolumesDown(String),
    /// The state could not be read or written.
    #[error("{}", causes(.0))]
    Store(#[from] StoreError),
}

/// What to do when something of this kind is missing, where there is something to do.
fn hint_for(kind: &str) -> &'static str {
    match kind {
        "stub" | "object" => {
            "\nhint: run the program again, which makes it anew; what nobody has used for long is \
             removed, and other workspaces' is not seen"
        }
        "image" => "\nhint: run the program again, which builds it anew",
        "task" => "\nhint: `metal9 task list` names those there are; ended ones go after a while",
        _ => "",
    }
}

/// An error with its causes, where only the text gets through.
pub(crate) fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    if matches!(error.downcast_ref(), Some(StoreError::Full { .. })) {
        text.push_str("\nhint: make room there and ask again; nothing that was accepted is lost");
    }
    text
}

impl ApiError {
    /// The gRPC code; the SDK's own texts for each are in its documentation.
    fn code(&self) -> Code {
        match self {
            Self::Unauthenticated(_) => Code::Unauthenticated,
            Self::Forbidden(_) => Code::PermissionDenied,
            Self::NotFound { .. } => Code::NotFound,
            Self::Invalid(_) => Code::InvalidArgument,
            Self::Conflict(_) => Code::FailedPrecondition,
            Self::Limit(_) | Self::Exhausted { .. } => Code::ResourceExhausted,
            Self::Unavailable(_) | Self::VolumesDown(_) => Code::Unavailable,
            Self::Store(error) => match error.tier() {
                Tier::User | Tier::Input => Code::InvalidArgument,
                Tier::Limit => Code::ResourceExhausted,
                Tier::Platform => Code::Internal,
            },
        }
    }

    /// When it makes sense to ask again, if that is known.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Exhausted { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }

    /// The HTTP status code.
    pub(crate) fn http_status(&self) -> u16 {
        if matches!(self, Self::Store(StoreError::Exists { .. })) {
            return 409;
        }
        match self.code() {
            Code::Unauthenticated => 401,
            Code::PermissionDenied => 403,
            Code::NotFound => 404,
            Code::InvalidArgument => 400,
            Code::FailedPrecondition => 409,
            Code::ResourceExhausted if matches!(self, Self::Limit(_)) => 413,
            Code::ResourceExhausted => 429,
            Code::Unavailable => 503,
            _ => 500,
        }
    }
}

impl From<ApiError> for Status {
    fn from(error: ApiError) -> Self {
        if matches!(&error, ApiError::Store(inner) if inner.tier() == Tier::Platform) {
            tracing::error!(%error, "the store failed a request");
        }
        let mut status = Self::new(error.code(), error.to_string());
        if let Some(after) = error.retry_after() {
            let seconds = MetadataValue::from(after.as_secs());
            status.metadata_mut().insert("retry-after", seconds);
        }
        status
    }
}
