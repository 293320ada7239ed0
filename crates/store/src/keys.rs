//! Keys, bearer tokens and the encryption of secrets.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};

use crate::StoreError;
use crate::directory::file_error;

const MASTER_BYTES: usize = 32;
const TOKEN_BYTES: usize = 64;

/// The gateway's keys, all made from the one in the key file.
pub(crate) struct Keys {
    pub(crate) signing: [u8; 32],
    pub(crate) fingerprint: [u8; 32],
    cipher: XChaCha20Poly1305,
}

/// A sealed value.
pub(crate) struct Sealed {
    pub(crate) nonce: [u8; 24],
    pub(crate) bytes: Vec<u8>,
}

impl Keys {
    /// Reads the key file; makes one where there is none, if it `may_create`.
    pub(crate) fn open(path: &Path, may_create: bool) -> Result<Self, StoreError> {
        let master = match fs::read_to_string(path) {
            Ok(text) => {
                let text = text.trim();
                URL_SAFE.decode(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or_else(
                    || StoreError::Key {
                        path: path.to_owned(),
                        why: "is not readable: expected 32 bytes in base64",
                    },
                )?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && may_create => {
                create_master(path).map_err(|source| file_error("create", path, source))?
            }
            Err(source) => return Err(file_error("read", path, source)),
        };
        let encryption = derive("secret values", &master);
        Ok(Self {
            signing: derive("signatures", &master),
            fingerprint: derive("fingerprint", &master),
            cipher: XChaCha20Poly1305::new(&Key::from(encryption)),
        })
    }

    /// Encrypts `text` so that it opens only together with the same `context`.
    pub(crate) fn seal(&self, context: &[u8], text: &[u8]) -> Option<Sealed> {
        let mut nonce = [0; 24];
        rand::fill(&mut nonce);
        let payload = Payload { msg: text, aad: context };
        let bytes = self.cipher.encrypt(&XNonce::from(nonce), payload).ok()?;
        Some(Sealed { nonce, bytes })
    }

    /// Decrypts; nothing if the key, the context or a byte is not the one it was sealed with.
    pub(crate) fn unseal(&self, context: &[u8], nonce: &[u8], bytes: &[u8]) -> Option<Vec<u8>> {
        let nonce: [u8; 24] = nonce.try_into().ok()?;
        self.cipher.decrypt(&XNonce::from(nonce), Payload { msg: bytes, aad: context }).ok()
    }
}

/// The master key has a fixed length, so label and key cannot be confused.
fn derive(label: &str, master: &[u8; MASTER_BYTES]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(master);
    hasher.update(b"metal9 ");
    hasher.update(label);
    hasher.finalize().into()
}

/// Written beside and renamed, so that a crash leaves no half a key.
fn create_master(path: &Path) -> io::Result<[u8; MASTER_BYTES]> {
    let mut master = [0; MASTER_BYTES];
    rand::fill(&mut master);
    let unfinished = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    writeln!(file, "{}", URL_SAFE.encode(master))?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    if let Some(dir) = path.parent() {
        File::open(dir)?.sync_all()?;
    }
    Ok(master)
}

/// A new bearer token: 88 characters.
pub(crate) fn new_token() -> String {
    let mut bytes = [0; TOKEN_BYTES];
    rand::fill(&mut bytes);
    URL_SAFE.encode(bytes)
}

/// What is stored of a token. Tokens are random and long, so a plain hash cannot be guessed back.
pub(crate) fn token_hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}
