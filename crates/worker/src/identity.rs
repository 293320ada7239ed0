//! Who the worker is, on disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Why the identity could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The worker has not joined.
    #[error("this worker has not joined a gateway: `{}` does not exist", .0.display())]
    NotJoined(PathBuf),
    /// The file could not be read.
    #[error("could not read the worker's identity `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file could not be written.
    #[error("could not write the worker's identity `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not an identity.
    #[error("the worker's identity `{}` could not be understood", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
}

/// What [`crate::join`] leaves for [`crate::run`].
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) worker_id: String,
    pub(crate) credential: String,
    pub(crate) pool: String,
    pub(crate) gateway: String,
    /// The fingerprint of the gateway's key; nothing without TLS, or where roots are trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fingerprint: Option<String>,
    /// The credential before this one, until the gateway has taken this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) previous: Option<String>,
    /// When the credential was issued, in Unix seconds; 0 if that was not noted.
    #[serde(default)]
    pub(crate) issued_at: u64,
}

impl Identity {
    pub(crate) fn read(path: &Path) -> Result<Self, IdentityError> {
        let text = fs::read(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => IdentityError::NotJoined(path.to_owned()),
            _ => IdentityError::Read { path: path.to_owned(), source },
        })?;
        serde_json::from_slice(&text)
            .map_err(|source| IdentityError::Parse { path: path.to_owned(), source })
    }

    /// Replaces the file in one step; only its owner may read it.
    pub(crate) fn write(&self, path: &Path) -> Result<(), IdentityError> {
        self.try_write(path)
            .map_err(|source| IdentityError::Write { path: path.to_owned(), source })
    }

    fn try_write(&self, path: &Path) -> io::Result<()> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let fresh = path.with_extension("json.new");
        // A file left by a crash would keep its own mode.
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        match path.parent() {
            Some(directory) => File::open(directory)?.sync_all(),
            None => Ok(()),
        }
    }
}

/// The present as Unix seconds.
pub(crate) fn unix_now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn an_identity_is_read_back_and_private() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("state/worker.json");
        assert!(matches!(Identity::read(&path), Err(IdentityError::NotJoined(_))));
        let identity = Identity {
            worker_id: "w".into(),
            credential: "secret".into(),
            pool: "default".into(),
            gateway: "127.0.0.1:1993".into(),
            fingerprint: None,
            previous: None,
            issued_at: 0,
        };
        identity.write(&path).unwrap();
        identity.write(&path).unwrap();
        assert_eq!(Identity::read(&path).unwrap().credential, "secret");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn an_identity_of_an_earlier_version_is_understood() {
        let text = r#"{"worker_id": "w", "credential": "c", "pool": "p", "gateway": "g:1"}"#;
        let identity: Identity = serde_json::from_str(text).unwrap();
        assert_eq!((identity.fingerprint, identity.previous, identity.issued_at), (None, None, 0));
    }

    #[test]
    fn a_file_that_is_no_identity_is_named() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("worker.json");
        fs::write(&path, "{").unwrap();
        let error = Identity::read(&path).err().unwrap();
        assert!(error.to_string().contains("worker.json"), "{error}");
    }
}
