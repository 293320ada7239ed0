//! Replacing the key file, with every secret encrypted anew.
//!
//! A crash at any moment leaves a state that opens: the new key is on disk as `secret.key.next`
//! before the database is changed, the database says by a fingerprint which key it belongs to, and
//! [`settle`] puts that one in its place.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use metal9_types::WorkspaceId;
use sqlx::{Connection as _, SqliteConnection};

use crate::columns::Columns;
use crate::directory::{self, file_error};
use crate::keys::Keys;
use crate::secrets::context;
use crate::store::{database, open_keys, open_writer};
use crate::{Actor, Store, StoreError, audit};

/// The new key, until the database belongs to it.
pub(crate) fn next(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".next");
    name.into()
}

/// After a crash during a rotation: puts the key that the database belongs to in its place.
pub(crate) fn settle(path: &Path, known: &[u8]) -> Result<(), StoreError> {
    let next = next(path);
    let belongs = |path: &Path| Keys::open(path, false).is_ok_and(|keys| keys.fingerprint == known);
    if !next.exists() {
        return Ok(());
    }
    if belongs(&next) {
        return put_in_place(&next, path).map_err(|source| file_error("replace", path, source));
    }
    // The rotation never got as far as the database.
    if belongs(path) {
        fs::remove_file(&next).map_err(|source| file_error("remove", &next, source))?;
    }
    Ok(())
}

fn put_in_place(next: &Path, path: &Path) -> io::Result<()> {
    fs::rename(next, path)?;
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

impl Store {
    /// Makes a new key file for the state in `dir` and encrypts every secret with it; returns how
    /// many there are. Tokens of running jobs and signatures made with the old key are not good
    /// any more. No process may have the state open.
    ///
    /// # Errors
    /// When the state is in use ([`StoreError::InUse`]), a secret does not open, or a file cannot
    /// be written. Then the old key stays.
    pub async fn rotate_key(dir: &Path) -> Result<usize, StoreError> {
        if !dir.join("state.db").exists() {
            let source = io::Error::from(io::ErrorKind::NotFound);
            return Err(file_error("open", &dir.join("state.db"), source));
        }
        let _lock = directory::lock(dir)?;
        let mut connection = open_writer(dir).await?;
        let doing = "encrypt the secrets anew";
        // What is replaced is overwritten, so that the old key opens nothing in this file.
        sqlx::query("PRAGMA secure_delete = ON")
            .execute(&mut connection)
            .await
            .map_err(database(doing))?;
        let path = dir.join("secret.key");
        let old = open_keys(&path, &mut connection).await?;
        let next = next(&path);
        let new = Keys::open(&next, true)?;
        let count = match replace(&old, &new, &mut connection).await {
            Ok(count) => count,
            Err(error) => {
                // The next start does the same; what went wrong is more worth telling.
                let _ = settle(&path, &old.fingerprint);
                return Err(error);
            }
        };
        put_in_place(&next, &path).map_err(|source| file_error("replace", &path, source))?;
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
            .execute(&mut connection)
            .await
            .map_err(database(doing))?;
        connection.close().await.map_err(database("close the state"))?;
        Ok(count)
    }
}

/// Encrypts every secret with the new keys, in one transaction.
async fn replace(
    old: &Keys,
    new: &Keys,
    connection: &mut SqliteConnection,
) -> Result<usize, StoreError> {
    let failed = database("encrypt the secrets anew");
    let mut transaction = connection.begin().await.map_err(&failed)?;
    let rows = sqlx::query("SELECT id, workspace, name, nonce, sealed FROM secrets")
        .fetch_all(&mut *transaction)
        .await
        .map_err(&failed)?;
    for row in &rows {
        let columns = Columns { what: "secret", row };
        let name = columns.text("name")?;
        let context = context(WorkspaceId(columns.uuid("workspace")?), &name);
        let sealed = old
            .unseal(&context, &columns.bytes("nonce")?, &columns.bytes("sealed")?)
            .and_then(|value| new.seal(&context, &value))
            .ok_or_else(|| StoreError::Corrupt {
                what: "secret",
                why: format!("`{name}` does not open with the gateway's key"),
            })?;
        sqlx::query("UPDATE secrets SET nonce = ?, sealed = ? WHERE id = ?")
            .bind(&sealed.nonce[..])
            .bind(&sealed.bytes)
            .bind(columns.bytes("id")?)
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
    }
    sqlx::query("UPDATE key_file SET fingerprint = ?")
        .bind(&new.fingerprint[..])
        .execute(&mut *transaction)
        .await
        .map_err(&failed)?;
    let entry = Actor::gateway().did("key.rotate", "secret.key");
    let entry = entry.with(format!("{} secrets encrypted anew", rows.len()));
    audit::insert(&entry, &mut transaction).await.map_err(&failed)?;
    transaction.commit().await.map_err(&failed)?;
    Ok(rows.len())
}
