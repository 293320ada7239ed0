//! What a gateway and its workers are told about JuiceFS.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Room for what was read lately if nobody says otherwise, in MiB.
const CACHE_MIB: u64 = 4096;

/// Where a file system that is yet to be made keeps its contents.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Storage {
    /// The kind of object storage, as `s3`; nothing for a directory.
    pub storage: Option<String>,
    /// The bucket's address, or the directory.
    pub bucket: Option<String>,
    /// The key's name.
    pub access_key: Option<String>,
    /// The key.
    pub secret_key: Option<String>,
}

/// Without the key.
impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { storage, bucket, .. } = self;
        let mut shown = f.debug_struct("Storage");
        shown.field("storage", storage).field("bucket", bucket).finish_non_exhaustive()
    }
}

/// `[juicefs]`.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// The address of the metadata, with a password if it needs one; nothing for no JuiceFS.
    pub metadata: Option<String>,
    /// The program; nothing for the one on PATH, or one that is installed.
    pub program: Option<PathBuf>,
    /// Where what was read is kept; nothing for a directory below the state's.
    pub cache_dir: Option<PathBuf>,
    /// Room for it, in MiB.
    pub cache_mib: Option<u64>,
    /// Whether a file system is made if there is none.
    pub format: Option<bool>,
    /// The name of one that is made.
    pub name: Option<String>,
    /// Where one that is made keeps its contents.
    #[serde(flatten)]
    pub storage: Storage,
    /// Whether workers of other machines may mount it; they are told the address, and the password.
    pub share: Option<bool>,
    /// Whether a worker mounts it also where it sees the gateway's.
    pub own_mount: Option<bool>,
}

/// Without what is secret.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Settings");
        shown.field("on", &self.metadata.is_some()).field("program", &self.program);
        shown.field("storage", &self.storage).finish_non_exhaustive()
    }
}

impl Settings {
    /// Room for what was read, in MiB.
    pub(crate) fn cache_mib(&self) -> u64 {
        self.cache_mib.unwrap_or(CACHE_MIB)
    }

    /// The name of a file system that is made.
    pub(crate) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or("metal9")
    }

    /// Whether workers of other machines may mount it.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.share.unwrap_or(true)
    }
}
