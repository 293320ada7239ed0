//! What can go wrong with durable state.

use std::io;
use std::path::PathBuf;

use metal9_types::{ObjectId, StubId, Tier};

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has the state directory open.
    #[error("state directory `{}` is in use by process {pid}", dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// The other process as it wrote itself down; `unknown` if it has not yet.
        pid: String,
    },
    /// A file of the state directory cannot be used.
    #[error("cannot {doing} `{}`", path.display())]
    File {
        /// What was being done, as `create`.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The key file does not fit the database beside it.
    #[error("key file `{}` {why}", path.display())]
    Key {
        /// The key file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The database was written by a later version.
    #[error(
        "`{}` was written by a newer version of metal9 (its tables have version {version})",
        path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// The version that this one does not know.
        version: i64,
    },
    /// The database's tables cannot be brought to this version's shape.
    #[error("cannot migrate `{}`", path.display())]
    Migrate {
        /// The database.
        path: PathBuf,
        /// Why.
        #[source]
        source: sqlx::migrate::MigrateError,
    },
    /// The disk is full.
    #[error("cannot {doing}: no space left on the disk that holds the gateway's state")]
    Full {
        /// What was being done.
        doing: &'static str,
    },
    /// The database refused.
    #[error("cannot {doing}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// The object store refused.
    #[error("cannot {doing}")]
    Objects {
        /// What was being done.
        doing: &'static str,
        /// Why.
        #[source]
        source: object_store::Error,
    },
    /// Something stored cannot be read back.
    #[error("stored {what} is not readable: {why}")]
    Corrupt {
        /// What.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// The last active primary token of a workspace cannot be taken away.
    #[error("this is the last active primary token of its workspace")]
    LastToken,
    /// A worker may not join.
    #[error("join token {why}")]
    JoinRefused {
        /// Why, as `has expired`.
        why: &'static str,
    },
    /// A name is taken.
    #[error("{kind} `{name}` exists already")]
    Exists {
        /// The kind of thing.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A name is not there.
    #[error("there is no {kind} `{name}`")]
    Missing {
        /// The kind of thing.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A value that cannot be stored.
    #[error("{what} `{value}` is not valid: expected {expected}")]
    Invalid {
        /// What it should have been.
        what: &'static str,
        /// The value, shortened where long.
        value: String,
        /// What would have been right.
        expected: &'static str,
    },
    /// More than there may be of something.
    #[error("{what}")]
    OverLimit {
        /// What was asked, which limit it is over, and a hint.
        what: String,
    },
    /// The stub of a task is not known in the task's workspace.
    #[error("there is no stub {stub} in this workspace")]
    UnknownStub {
        /// The stub.
        stub: StubId,
    },
    /// An object's bytes are gone although the database knows it.
    #[error("the bytes of object {object} are missing")]
    ObjectLost {
        /// The object.
        object: ObjectId,
    },
}

impl StoreError {
    /// Whose doing it is.
    #[must_use]
    pub fn tier(&self) -> Tier {
        match self {
            Self::LastToken
            | Self::JoinRefused { .. }
            | Self::Exists { .. }
            | Self::Missing { .. }
            | Self::Invalid { .. }
            | Self::UnknownStub { .. } => Tier::Input,
            Self::Full { .. } | Self::OverLimit { .. } => Tier::Limit,
            _ => Tier::Platform,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    #[test]
    fn a_message_does_not_repeat_its_cause() {
        let source = io::Error::other("the cause");
        let error = StoreError::File { doing: "read", path: "/x/secret.key".into(), source };
        assert_eq!(error.to_string(), "cannot read `/x/secret.key`");
        assert_eq!(error.source().map(ToString::to_string).as_deref(), Some("the cause"));
    }

    #[test]
    fn the_tier_says_whose_doing_it_is() {
        assert_eq!(StoreError::LastToken.tier(), Tier::Input);
        assert_eq!(StoreError::Full { doing: "accept a task" }.tier(), Tier::Limit);
        assert_eq!(StoreError::Closed.tier(), Tier::Platform);
    }
}
