//! Stubs: immutable, and found again by their configuration.

use std::sync::Arc;

use metal9_types::{ObjectId, Stage, StubConfig, StubId, StubKind, WorkspaceId};
use sha2::{Digest, Sha256};
use sqlx::{SqliteConnection, SqliteExecutor};
use uuid::Uuid;

use crate::cache::Cache;
use crate::clock::{new_uuid, now};
use crate::columns::{Columns, to_json};
use crate::retention::Used;
use crate::store::database;
use crate::{Store, StoreError, StubRow, UnixMicros};

/// Stubs read lately.
pub(crate) type StubCache = Cache<StubId, Arc<StubRow>>;

struct NewStub {
    id: StubId,
    workspace: WorkspaceId,
    config_hash: Option<[u8; 32]>,
    name: String,
    config: String,
    created_at: UnixMicros,
}

impl Store {
    /// The stub with this configuration, made if there is none. With `force` a new one is made
    /// always, which no later call without `force` finds.
    ///
    /// # Errors
    /// When the configuration has a number that is not one, or the database cannot be written.
    pub async fn get_or_create_stub(
        &self,
        workspace: WorkspaceId,
        config: &StubConfig,
        force: bool,
    ) -> Result<StubId, StoreError> {
        if !config.keep_warm_seconds.is_finite() {
            return Err(StoreError::Invalid {
                what: "keep_warm_seconds",
                value: config.keep_warm_seconds.to_string(),
                expected: "a number of seconds",
            });
        }
        let text = to_json("stub", config)?;
        let config_hash = (!force).then(|| <[u8; 32]>::from(Sha256::digest(&text)));
        if let Some(hash) = config_hash {
            let found = by_hash(workspace, &hash, self.readers()).await;
            if let Some((id, used_at)) = found.map_err(database("look up a stub"))? {
                self.note_use(Used::Stub(id), used_at).await?;
                return Ok(id);
            }
        }
        let stub = NewStub {
            id: StubId(new_uuid()),
            workspace,
            config_hash,
            name: config.name.clone(),
            config: text,
            created_at: now(),
        };
        self.write("make a stub", stub, |stub, conn| Box::pin(insert_stub(stub, conn))).await
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
        let stub = Arc::new(StubRow {
            id,
            workspace: WorkspaceId(columns.uuid("workspace")?),
            config: columns.json("config")?,
            created_at: columns.number("created_at")?,
        });
        self.inner.stubs.remember(miss, id, Arc::clone(&stub));
        Ok(Some(stub))
    }
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

async fn insert_stub(stub: &NewStub, conn: &mut SqliteConnection) -> Result<StubId, sqlx::Error> {
    if let Some(hash) = &stub.config_hash
        && let Some((id, _)) = by_hash(stub.workspace, hash, &mut *conn).await?
    {
        return Ok(id);
    }
    sqlx::query(
        "INSERT INTO stubs (id, workspace, config_hash, name, config, created_at, used_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&stub.id.0.as_bytes()[..])
    .bind(&stub.workspace.0.as_bytes()[..])
    .bind(stub.config_hash.as_ref().map(|hash| &hash[..]))
    .bind(&stub.name)
    .bind(&stub.config)
    .bind(stub.created_at)
    .bind(stub.created_at)
    .execute(conn)
    .await?;
    Ok(stub.id)
}
