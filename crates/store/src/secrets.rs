//! Secrets: values are encrypted, and open only in the workspace and under the name they were
//! stored with.

use std::collections::BTreeMap;

use metal9_types::{SecretId, WorkspaceId};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use crate::clock::{new_uuid, now};
use crate::columns::Columns;
use crate::keys::Sealed;
use crate::most::{MOST_SECRETS, Made, too_many};
use crate::store::database;
use crate::{By, SecretInfo, SecretRow, Store, StoreError, UnixMicros};

const SECRET: &str = "secret";

/// Characters of a secret's name at most.
const LONGEST_NAME: usize = 256;

/// Bytes of a secret's value at most.
const LONGEST_VALUE: usize = 1024 * 1024;

struct SealedSecret {
    id: SecretId,
    workspace: WorkspaceId,
    name: String,
    sealed: Sealed,
    at: UnixMicros,
}

impl By<'_> {
    /// Makes a secret.
    ///
    /// # Errors
    /// When the name is not one an environment variable can have ([`StoreError::Invalid`]) or is
    /// taken ([`StoreError::Exists`]), the value is too long or the workspace has too many
    /// ([`StoreError::OverLimit`]); or the database cannot be written.
    pub async fn create_secret(
        &self,
        workspace: WorkspaceId,
        name: &str,
        value: &str,
    ) -> Result<SecretRow, StoreError> {
        let secret = self.store.seal(workspace, name, value)?;
        let (id, at) = (secret.id, secret.at);
        let made = self
            .store
            .write_noted(
                "make a secret",
                self.actor.or_in(workspace).did("secret.create", name),
                secret,
                |secret, conn| Box::pin(insert_secret(secret, conn)),
                |made| *made == Made::New,
            )
            .await?;
        match made {
            Made::New => {}
            Made::There => {
                return Err(StoreError::Exists { kind: SECRET, name: name.to_owned() });
            }
            Made::TooMany => {
                let hint = "delete those that nobody uses: `beta9 secret list`, `beta9 secret \
                            delete NAME`";
                return Err(too_many(MOST_SECRETS, "secrets", hint));
            }
        }
        let (name, value) = (name.to_owned(), value.to_owned());
        Ok(SecretRow { id, name, value, created_at: at, updated_at: at })
    }

    /// Gives a secret a new value; `false` if the workspace has no such secret.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn update_secret(
        &self,
        workspace: WorkspaceId,
        name: &str,
        value: &str,
    ) -> Result<bool, StoreError> {
        let secret = self.store.seal(workspace, name, value)?;
        self.store
            .write_noted(
                "change a secret",
                self.actor.or_in(workspace).did("secret.update", name),
                secret,
                |secret, conn| Box::pin(update_secret(secret, conn)),
                |changed| *changed,
            )
            .await
    }

    /// Deletes a secret; `false` if the workspace has no such secret.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn delete_secret(
        &self,
        workspace: WorkspaceId,
        name: &str,
    ) -> Result<bool, StoreError> {
        self.store
            .change_noted(
                "delete a secret",
                self.actor.or_in(workspace).did("secret.delete", name),
                (workspace, name.to_owned()),
                |(workspace, name), conn| {
                    Box::pin(
                        sqlx::query("DELETE FROM secrets WHERE workspace = ? AND name = ?")
                            .bind(&workspace.0.as_bytes()[..])
                            .bind(name)
                            .execute(conn),
                    )
                },
            )
            .await
    }

    /// A secret with its value, told only once it is noted that it was.
    ///
    /// # Errors
    /// When the database cannot be read or written, or the value does not open.
    pub async fn read_secret(
        &self,
        workspace: WorkspaceId,
        name: &str,
    ) -> Result<Option<SecretRow>, StoreError> {
        let secret = self.store.secret(workspace, name).await?;
        if secret.is_some() {
            self.store.audit(self.actor.or_in(workspace).did("secret.read", name)).await?;
        }
        Ok(secret)
    }
}

impl Store {
    /// A secret with its value.
    ///
    /// # Errors
    /// When the database cannot be read, or the value does not open.
    pub async fn secret(
        &self,
        workspace: WorkspaceId,
        name: &str,
    ) -> Result<Option<SecretRow>, StoreError> {
        let row = sqlx::query(
            "SELECT id, name, nonce, sealed, created_at, updated_at FROM secrets \
             WHERE workspace = ? AND name = ?",
        )
        .bind(&workspace.0.as_bytes()[..])
        .bind(name)
        .fetch_optional(self.readers())
        .await
        .map_err(database("look up a secret"))?;
        let Some(row) = row else { return Ok(None) };
        let SecretInfo { id, name, created_at, updated_at } = secret_info(&row)?;
        let columns = Columns { what: SECRET, row: &row };
        let (nonce, sealed) = (columns.bytes("nonce")?, columns.bytes("sealed")?);
        let value = self
            .inner
            .keys
            .unseal(&context(workspace, &name), &nonce, &sealed)
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or_else(|| StoreError::Corrupt {
                what: SECRET,
                why: format!("`{name}` does not open with the gateway's key"),
            })?;
        Ok(Some(SecretRow { id, name, value, created_at, updated_at }))
    }

    /// All secrets of a workspace without their values, by name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn list_secrets(
        &self,
        workspace: WorkspaceId,
    ) -> Result<Vec<SecretInfo>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, name, created_at, updated_at FROM secrets WHERE workspace = ? ORDER BY name",
        )
        .bind(&workspace.0.as_bytes()[..])
        .fetch_all(self.readers())
        .await
        .map_err(database("list secrets"))?;
        rows.iter().map(secret_info).collect()
    }

    /// The values of these secrets, by name.
    ///
    /// # Errors
    /// [`StoreError::Missing`] for the first that is not there; or as [`Store::secret`].
    pub async fn secret_values(
        &self,
        workspace: WorkspaceId,
        names: &[String],
    ) -> Result<BTreeMap<String, String>, StoreError> {
        let mut values = BTreeMap::new();
        for name in names {
            let secret = self
                .secret(workspace, name)
                .await?
                .ok_or_else(|| StoreError::Missing { kind: SECRET, name: name.clone() })?;
            values.insert(secret.name, secret.value);
        }
        Ok(values)
    }

    fn seal(
        &self,
        workspace: WorkspaceId,
        name: &str,
        value: &str,
    ) -> Result<SealedSecret, StoreError> {
        check_name(name)?;
        if value.len() > LONGEST_VALUE {
            let what = format!(
                "the value of secret `{name}` is {:.1} MiB; it may be {} MiB\nhint: keep what is \
                 larger in a volume",
                value.len() as f64 / (1024.0 * 1024.0),
                LONGEST_VALUE >> 20,
            );
            return Err(StoreError::OverLimit { what });
        }
        let sealed =
            self.inner.keys.seal(&context(workspace, name), value.as_bytes()).ok_or_else(|| {
                StoreError::Invalid {
                    what: "value of secret",
                    value: name.to_owned(),
                    expected: "a text short enough to encrypt",
                }
            })?;
        let id = SecretId(new_uuid());
        Ok(SealedSecret { id, workspace, name: name.to_owned(), sealed, at: now() })
    }
}

fn check_name(name: &str) -> Result<(), StoreError> {
    let first = name.chars().next();
    let good = first.is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && name.len() <= LONGEST_NAME;
    if good {
        return Ok(());
    }
    Err(StoreError::Invalid {
        what: "secret name",
        value: name.chars().take(64).collect(),
        expected: "letters, digits and `_`, not beginning with a digit",
    })
}

/// What a value is bound to. A workspace's id has a fixed length, so the two cannot be confused.
pub(crate) fn context(workspace: WorkspaceId, name: &str) -> Vec<u8> {
    [&workspace.0.as_bytes()[..], name.as_bytes()].concat()
}

fn secret_info(row: &SqliteRow) -> Result<SecretInfo, StoreError> {
    let columns = Columns { what: SECRET, row };
    Ok(SecretInfo {
        id: SecretId(columns.uuid("id")?),
        name: columns.text("name")?,
        created_at: columns.number("created_at")?,
        updated_at: columns.number("updated_at")?,
    })
}

async fn insert_secret(
    secret: &SealedSecret,
    conn: &mut SqliteConnection,
) -> Result<Made, sqlx::Error> {
    let (there, count): (bool, i64) = sqlx::query_as(
        "SELECT coalesce(max(name = ?), 0), count(*) FROM secrets WHERE workspace = ?",
    )
    .bind(&secret.name)
    .bind(&secret.workspace.0.as_bytes()[..])
    .fetch_one(&mut *conn)
    .await?;
    if there {
        return Ok(Made::There);
    }
    if count >= MOST_SECRETS {
        return Ok(Made::TooMany);
    }
    sqlx::query(
        "INSERT INTO secrets (id, workspace, name, nonce, sealed, created_at, updated_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)",
    )
    .bind(&secret.id.0.as_bytes()[..])
    .bind(&secret.workspace.0.as_bytes()[..])
    .bind(&secret.name)
    .bind(&secret.sealed.nonce[..])
    .bind(&secret.sealed.bytes)
    .bind(secret.at)
    .execute(conn)
    .await?;
    Ok(Made::New)
}

async fn update_secret(
    secret: &SealedSecret,
    conn: &mut SqliteConnection,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "UPDATE secrets SET nonce = ?, sealed = ?, updated_at = ? WHERE workspace = ? AND name = ?",
    )
    .bind(&secret.sealed.nonce[..])
    .bind(&secret.sealed.bytes)
    .bind(secret.at)
    .bind(&secret.workspace.0.as_bytes()[..])
    .bind(&secret.name)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}
