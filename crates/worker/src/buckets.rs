//! Buckets of object stores as read-only files.
//!
//! The worker lists a bucket before each call, fetches what it has not in its cache, and lays it out
//! in a directory of the container's. Jobs get the directory, and never the keys.

mod answer;
mod copy;
mod error;
mod listing;
mod source;

use std::fmt;

use metal9_types::{Failure, FailureKind};
use metal9_volume::{MountPath, VolumePath};

pub(crate) use copy::{BucketCopy, Kept};
pub(crate) use error::BucketError;

use crate::errors::chain;

/// A bucket of a container.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bucket {
    /// Whose it is: nothing that is cached is shared with others.
    pub(crate) workspace: String,
    pub(crate) name: String,
    /// What is wanted of it; the root for everything.
    pub(crate) prefix: VolumePath,
    /// Where the job finds it.
    pub(crate) place: MountPath,
    /// Empty for Amazon's own.
    pub(crate) endpoint: String,
    pub(crate) region: String,
    /// Whether the bucket is named in the path of addresses, and not in the host.
    pub(crate) path_style: bool,
    /// Nothing if the bucket is open to all.
    pub(crate) keys: Option<Keys>,
}

/// What a bucket is read with.
#[derive(Clone, PartialEq)]
pub(crate) struct Keys {
    pub(crate) access: String,
    pub(crate) secret: String,
}

impl fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Keys(…)")
    }
}

impl Bucket {
    /// Why a call cannot have it, in the words of the job's output. Object stores repeat in their
    /// answers what they were sent, keys included.
    pub(crate) fn failure(&self, error: &BucketError) -> Failure {
        let mut text = chain(error);
        if let Some(keys) = &self.keys {
            for key in [&keys.secret, &keys.access] {
                text = text.replace(key.as_str(), "***");
            }
        }
        if let Some(hint) = error.hint() {
            text.push_str("\nhint: ");
            text.push_str(hint);
        }
        Failure::new(FailureKind::Setup, text)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn bucket() -> Bucket {
        Bucket {
            workspace: "w".to_owned(),
            name: "models".to_owned(),
            prefix: VolumePath::default(),
            place: MountPath::parse("models").unwrap(),
            endpoint: "http://127.0.0.1:1".to_owned(),
            region: String::new(),
            path_style: true,
            keys: Some(Keys { access: "AKIA-1".to_owned(), secret: "very/secret".to_owned() }),
        }
    }

    #[test]
    fn keys_are_in_no_text() {
        assert!(!format!("{:?}", bucket()).contains("AKIA"));
        let said = "denied to AKIA-1 with very/secret".to_owned();
        let source = object_store::Error::Generic { store: "S3", source: said.into() };
        let error = BucketError::List { bucket: "models".to_owned(), source: source.into() };
        let text = bucket().failure(&error).message;
        assert!(text.contains("denied to *** with ***"), "{text}");
    }
}
