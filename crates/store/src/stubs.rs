//! Stubs: immutable, and found again by their configuration.

use std::sync::Arc;

use metal9_types::{ObjectId, Stage, StubConfig, StubId, StubKind, WorkspaceId};
use sha2::{Digest, Sha256};
use sqlx::{SqliteConnection, SqliteExecutor};
use uuid::Uuid;

use crate::cache::Cache;
use crate::clock::{new_uuid, now};
use crate::columns::{Columns, to_json};
use crate::data::Room;
use crate::retention::Used;
use crate::store::database;
use crate::{Quota, Store, StoreError, StubRow, UnixMicros};

/// Stubs read lately.
pub(crate) type StubCache = Cache<StubId, Arc<StubRow>>;

struct NewStub {
    id: StubId,
    workspace: WorkspaceId,
    config_hash: Option<[u8; 32]>,
    name: String,
    config: String,
    created_at: UnixMicros,
    quota: Quota,
}

impl Store {
    /// The stub with this configuration, if it was made before.
    ///
    /// # Errors
    /// When the configuration has a number that is not one, or the database cannot be read.
    pub async fn stub_like(
        &self,
        workspace: WorkspaceId,
        config: &StubConfig,
    ) -> Result<Option<StubId>, StoreError> {
        self.look_up(workspace, &config_hash(&config_text(config)?)).await
    }

    async fn look_up(
        &self,
        workspace: WorkspaceId,
        hash: &[u8; 32],
    ) -> Result<Option<StubId>, StoreError> {
        let found = by_hash(workspace, hash, self.readers()).await;
        let Some((id, used_at)) = found.map_err(database("look up a stub"))? else {
            return Ok(None);
        };
        self.note_use(Used::Stub(id), used_at).await?;
        Ok(Some(id))
    }

    /// The stub with this configuration, made if there is none and `quota` leaves room. With `force` a
    /// new one is made always, which no later call without `force` finds.
    ///
    /// # Errors
    /// When the configuration has a number that is not one, there is no room
    /// ([`StoreError::OverLimit`]), or the database cannot be written.
    pub async fn get_or_create_stub(
        &self,
        workspace: WorkspaceId,
        config: &StubConfig,
        force: bool,
        quota: Quota,
    ) -> Result<StubId, StoreError> {
        let text = config_text(config)?;
        let config_hash = (!force).then(|| config_hash(&text));
        if let Some(hash) = config_hash
            && let Some(id) = self.look_up(workspace, &hash).await?
        {
            return Ok(id);
        }
        let stub = NewStub {
            id: StubId(new_uuid()),
            workspace,
            config_hash,
            name: config.name.clone(),
            config: text,
            created_at: now(),
            quota,
        };
        let made = self.write("make a stub", stub, |stub, conn| Box::pin(insert_stub(stub, conn)));
        made.await?.ok_or_else(|| StoreError::OverLimit {
            what: format!(
                "the stubs of this workspace may be {} and take {} MiB together, and this would be \
                 more (gateway.max_stubs_per_workspace, gateway.max_stub_mib_per_workspace)\nhint: \
                 every change of a function's code or settings makes one; those without calls and \
                 deployments go within minutes when nobody has used them for a day. Delete old \
                 deployments, or have the gateway keep ended calls for a shorter time \
                 (gateway.keep_ended_days)",
                quota.entries,
                quota.bytes >> 20,
            ),
        })
    }

    /// The newest stub of one of these names that is of a handler of some code; none that is tried out.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn stub_of_code(
        &self,
        workspace: WorkspaceId,
        names: [&str; 2],
        kind: StubKind,
        handler: &str,
        object: ObjectId,
    ) -> Result<Option<StubId>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, config, used_at FROM stubs WHERE workspace = ? AND name IN (?, ?) \
             ORDER BY created_at DESC",
        )
        .bind(&workspace.0.as_bytes()[..])
        .bind(names[0])
        .bind(names[1])
        .fetch_all(self.readers())
        .await
        .map_err(database("look up a stub"))?;
        for row in rows {
            let columns = Columns { what: "stub", row: &row };
            let config: StubConfig = columns.json("config")?;
            let alike = (config.kind, &*config.handler, config.object) == (kind, handler, object);
            if alike && config.stage != Stage::Serve {
                let id = StubId(columns.uuid("id")?);
                self.note_use(Used::Stub(id), columns.number("used_at")?).await?;
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// A stub.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn stub(&self, id: StubId) -> Result<Option<Arc<StubRow>>, StoreError> {
        let miss = match self.inner.stubs.get(&id) {
            Ok(stub) => return Ok(Some(stub)),
            Err(miss) => miss,
        };
        let row = sqlx::query("SELECT workspace, config, created_at FROM stubs WHERE id = ?")
            .bind(&id.0.as_bytes()[..])
            .fetch_optional(self.readers())
            .await
            .map_err(database("look up a stub"))?;
        let Some(row) = row else { return Ok(None) };
        let columns = Columns { what: "stub", row: &row };
        let bytes = columns.size("config")?;
        let stub = Arc::new(StubRow {
            id,
            workspace: WorkspaceId(columns.uuid("workspace")?),
            config: columns.json("config")?,
            created_at: columns.number("created_at")?,
        });
        self.inner.stubs.remember(miss, id, Arc::clone(&stub), bytes);
        Ok(Some(stub))
    }
}

fn config_text(config: &StubConfig) -> Result<String, StoreError> {
    if config.keep_warm_seconds.is_finite() {
        return to_json("stub", config);
    }
    Err(StoreError::Invalid {
        what: "keep_warm_seconds",
        value: config.keep_warm_seconds.to_string(),
        expected: "a number of seconds",
    })
}

fn config_hash(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// The stub with this configuration, and when it was last used.
async fn by_hash(
    workspace: WorkspaceId,
    hash: &[u8; 32],
    executor: impl SqliteExecutor<'_>,
) -> Result<Option<(StubId, UnixMicros)>, sqlx::Error> {
    let found: Option<(Vec<u8>, UnixMicros)> =
        sqlx::query_as("SELECT id, used_at FROM stubs WHERE workspace = ? AND config_hash = ?")
            .bind(&workspace.0.as_bytes()[..])
            .bind(&hash[..])
            .fetch_optional(executor)
            .await?;
    found
        .map(|(id, used_at)| Ok((StubId(Uuid::from_slice(&id)?), used_at)))
        .transpose()
        .map_err(|error: uuid::Error| sqlx::Error::Decode(error.into()))
}

/// Nothing if the workspace has no room for it.
async fn insert_stub(
    stub: &NewStub,
    conn: &mut SqliteConnection,
) -> Result<Option<StubId>, sqlx::Error> {
    if let Some(hash) = &stub.config_hash
        && let Some((id, _)) = by_hash(stub.workspace, hash, &mut *conn).await?
    {
        return Ok(Some(id));
    }
    let workspace = &stub.workspace.0.as_bytes()[..];
    let usage = sqlx::query_as("SELECT stubs, bytes FROM stub_usage WHERE workspace = ?")
        .bind(workspace)
        .fetch_optional(&mut *conn)
        .await?;
    let bytes = i64::try_from(stub.config.len()).unwrap_or(i64::MAX);
    if stub.quota.room_beside(usage.unwrap_or_default(), 1, bytes) != Room::Taken {
        return Ok(None);
    }
    sqlx::query(
        "INSERT INTO stubs (id, workspace, config_hash, name, config, created_at, used_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&stub.id.0.as_bytes()[..])
    .bind(workspace)
    .bind(stub.config_hash.as_ref().map(|hash| &hash[..]))
    .bind(&stub.name)
    .bind(&stub.config)
    .bind(stub.created_at)
    .bind(stub.created_at)
    .execute(conn)
    .await?;
    Ok(Some(stub.id))
}
