//! Typed ids, so that one kind of id cannot be passed for another.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::StubKind;

/// A text that is not an id of the kind asked for.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not a {kind} id")]
pub struct IdError {
    /// What the id should have named.
    pub kind: &'static str,
    /// The text that was given.
    pub text: String,
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        // The order of the bytes, compared as one number: the scheduler does little else.
        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                self.0.as_u128().cmp(&other.0.as_u128())
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                state.write_u128(self.0.as_u128());
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Uuid::parse_str(text)
                    .map(Self)
                    .map_err(|_| IdError { kind: $kind, text: text.to_owned() })
            }
        }
    };
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:x}", self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                u64::from_str_radix(text, 16)
                    .map(Self)
                    .map_err(|_| IdError { kind: $kind, text: text.to_owned() })
            }
        }
    };
}

uuid_id!(
    /// A tenant: owns tokens, stubs, secrets and objects.
    WorkspaceId, "workspace"
);
uuid_id!(
    /// A file that a task left.
    OutputId, "output"
);
uuid_id!(
    /// A file on its way into a volume, in parts.
    UploadId, "upload"
);
uuid_id!(
    /// A shared directory that jobs mount.
    VolumeId, "volume"
);
uuid_id!(
    /// A bearer token's public name; the token itself is stored only as a hash.
    TokenId, "token"
);
uuid_id!(
    /// A content-addressed code archive.
    ObjectId, "object"
);
uuid_id!(
    /// One configured, immutable unit of work.
    StubId, "stub"
);
uuid_id!(
    /// One version of a stub that stays callable under a name.
    DeploymentId, "deployment"
);
uuid_id!(
    /// One call.
    TaskId, "task"
);
uuid_id!(
    /// The daemon on one machine.
    WorkerId, "worker"
);
uuid_id!(
    /// A named value that jobs get as an environment variable.
    SecretId, "secret"
);

number_id!(
    /// One try of a task on one worker. The upper 32 bits are the gateway's epoch (how often it
    /// has started), so an id is never given twice, even after a crash.
    AttemptId, "attempt"
);
number_id!(
    /// One running instance of a stub on a worker. Numbered like [`AttemptId`].
    ContainerId, "container"
);
number_id!(
    /// One connection of a worker; a reconnect is a new session.
    SessionId, "session"
);

impl ContainerId {
    /// The container's name in the client API. The SDK's command line tells kinds of container
    /// apart by the text before the first dash.
    #[must_use]
    pub fn api_name(self, kind: StubKind, stub: StubId) -> String {
        // To the command line a schedule is a function.
        let kind = if kind == StubKind::Schedule { StubKind::Function } else { kind };
        format!("{}-{stub}-{self}", kind.as_str())
    }

    /// Reads an id back from [`ContainerId::api_name`].
    ///
    /// # Errors
    /// When the text does not end in a container number.
    pub fn from_api_name(name: &str) -> Result<Self, IdError> {
        name.rsplit('-')
            .next()
            .filter(|tail| tail.len() == 16)
            .and_then(|tail| tail.parse().ok())
            .ok_or_else(|| IdError { kind: "container", text: name.to_owned() })
    }
}

/// The name of an image: 16 hex digits of a hash over everything that makes it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug)]
#[serde(transparent)]
pub struct ImageId(pub String);

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_a_round_trip_through_text() {
        let id = TaskId(Uuid::from_u128(7));
        assert_eq!(id.to_string().parse::<TaskId>(), Ok(id));
        let attempt = AttemptId(0x0000_0001_0000_002a);
        assert_eq!(attempt.to_string().parse::<AttemptId>(), Ok(attempt));
    }

    #[test]
    fn a_container_is_found_again_by_its_api_name() {
        let container = ContainerId(0x2_0000_0003);
        let stub = StubId(Uuid::from_u128(9));
        for kind in StubKind::ALL {
            let name = container.api_name(kind, stub);
            assert_eq!(ContainerId::from_api_name(&name), Ok(container));
        }
        assert!(container.api_name(StubKind::Asgi, stub).starts_with("asgi-"));
        assert!(container.api_name(StubKind::Schedule, stub).starts_with("function-"));
        assert!(ContainerId::from_api_name("function-nonsense").is_err());
    }

    #[test]
    fn a_wrong_id_says_what_it_should_have_been() {
        let error = "zzz".parse::<WorkerId>().unwrap_err();
        assert_eq!(error.to_string(), "`zzz` is not a worker id");
    }
}
