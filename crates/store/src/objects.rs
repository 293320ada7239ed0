//! Code archives: rows in the database, bytes in the object store. Outputs share the directory.

mod files;

use std::fmt;
use std::io;
use std::path::Path;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use metal9_types::{ObjectId, WorkspaceId};
use object_store::{GetResultPayload, ObjectStoreExt, WriteMultipart};
use sqlx::SqliteConnection;
use tokio_util::io::ReaderStream;
use uuid::Uuid;

use crate::clock::{new_uuid, now};
use crate::columns::Columns;
use crate::directory::file_error;
use crate::retention::Used;
use crate::store::database;
use crate::{Store, StoreError, UnixMicros};
use files::path;
pub(crate) use files::{ObjectFiles, objects};

/// Bytes read from an object at a time.
const CHUNK: usize = 256 * 1024;

/// Parts of an upload that may be on their way to the disk at a time.
pub(crate) const PARTS: usize = 4;

/// Characters of a content hash at most.
const LONGEST_HASH: usize = 256;

/// An object's bytes, in order.
pub type ObjectStream = BoxStream<'static, io::Result<Bytes>>;

/// An object on its way in. Dropping it before [`ObjectUpload::finish`] leaves nothing.
pub struct ObjectUpload {
    store: Store,
    upload: WriteMultipart,
    row: ObjectRow,
    /// Where its bytes are until it is recorded.
    bytes: ObjectId,
}

impl fmt::Debug for ObjectUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectUpload").field("object", &self.row.id).finish_non_exhaustive()
    }
}

impl ObjectUpload {
    /// Adds bytes at the end. Waits while the disk is slower than the caller.
    ///
    /// # Errors
    /// When bytes written before could not be.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.upload.wait_for_capacity(PARTS).await.map_err(objects("write an object"))?;
        self.upload.put(bytes);
        Ok(())
    }

    /// Makes the object visible once all its bytes are on disk. If somebody else has finished the
    /// same object meanwhile, theirs is given and this one is dropped.
    ///
    /// # Errors
    /// When the object cannot be written.
    pub async fn finish(self) -> Result<ObjectId, StoreError> {
        self.finish_if(|_| Ok::<(), StoreError>(())).await
    }

    /// The same for bytes that have to pass a check, which may take its time. Bytes that do not
    /// pass leave nothing.
    ///
    /// # Errors
    /// When the object cannot be written, or what the check says.
    pub async fn finish_if<E, F>(self, check: F) -> Result<ObjectId, E>
    where
        E: From<StoreError> + Send + 'static,
        F: FnOnce(std::fs::File) -> Result<(), E> + Send + 'static,
    {
        let Self { store, upload, row, bytes: new } = self;
        upload.finish().await.map_err(objects("finish an object"))?;
        let files = &store.inner.objects;
        let checked = match files.file(new).await {
            Ok(file) => {
                tokio::task::spawn_blocking(move || check(file)).await.unwrap_or_else(|error| {
                    Err(file_error("check", Path::new("objects"), io::Error::other(error)).into())
                })
            }
            Err(error) => Err(error.into()),
        };
        if let Err(refused) = checked {
            files.0.delete(&path(new)).await.map_err(objects("drop an object"))?;
            return Err(refused);
        }
        Ok(Self::record(store, row, new).await?)
    }

    async fn record(store: Store, row: ObjectRow, new: ObjectId) -> Result<ObjectId, StoreError> {
        let id = store
            .write("record an object", row, |row, conn| Box::pin(insert_object(row, conn)))
            .await?;
        if id == new {
            return Ok(id);
        }
        let files = &store.inner.objects;
        if files.has(id).await? {
            files.0.delete(&path(new)).await.map_err(objects("drop a second copy"))?;
        } else {
            // The one that is recorded has none, or they were lost; these are the same.
            files.0.rename(&path(new), &path(id)).await.map_err(objects("place an object"))?;
        }
        Ok(id)
    }
}

struct ObjectRow {
    id: ObjectId,
    workspace: WorkspaceId,
    hash: String,
    announced_size: i64,
    created_at: UnixMicros,
}

impl Store {
    /// The object with this content hash, if its bytes are there.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn head_object(
        &self,
        workspace: WorkspaceId,
        hash: &str,
    ) -> Result<Option<ObjectId>, StoreError> {
        let row = sqlx::query("SELECT id, used_at FROM objects WHERE workspace = ? AND hash = ?")
            .bind(&workspace.0.as_bytes()[..])
            .bind(hash)
            .fetch_optional(self.readers())
            .await
            .map_err(database("look up an object"))?;
        let Some(row) = row else { return Ok(None) };
        let columns = Columns { what: "object", row: &row };
        let (id, used_at) = (columns.uuid("id")?, columns.number("used_at")?);
        if !self.inner.objects.has(ObjectId(id)).await? {
            return Ok(None);
        }
        // Whoever asks is about to name it in a stub, so it must not be removed meanwhile.
        self.note_use(Used::Object(ObjectId(id)), used_at).await?;
        Ok(Some(ObjectId(id)))
    }

    /// Begins an upload. `hash` is the client's name for the content and is not checked against
    /// the bytes; `size` is what the client announces, in bytes before compression.
    ///
    /// # Errors
    /// When the hash is empty or longer than 256 characters, or the file cannot be made.
    pub async fn put_object(
        &self,
        workspace: WorkspaceId,
        hash: &str,
        size: i64,
    ) -> Result<ObjectUpload, StoreError> {
        self.begin_object(workspace, hash, size, None).await
    }

    /// The same for an object that somebody was told the id of. What [`ObjectUpload::finish`] gives
    /// is another id if the content was recorded under that meanwhile.
    ///
    /// # Errors
    /// As there.
    pub async fn put_object_as(
        &self,
        workspace: WorkspaceId,
        id: ObjectId,
        hash: &str,
        size: i64,
    ) -> Result<ObjectUpload, StoreError> {
        self.begin_object(workspace, hash, size, Some(id)).await
    }

    async fn begin_object(
        &self,
        workspace: WorkspaceId,
        hash: &str,
        size: i64,
        told: Option<ObjectId>,
    ) -> Result<ObjectUpload, StoreError> {
        if hash.is_empty() || hash.len() > LONGEST_HASH {
            return Err(StoreError::Invalid {
                what: "object hash",
                value: hash.chars().take(32).collect(),
                expected: "1 to 256 characters",
            });
        }
        // Somebody else may be told the same id, or an object may have it: the bytes have a name of
        // their own until they have been looked at.
        let bytes = ObjectId(new_uuid());
        let row = ObjectRow {
            id: told.unwrap_or(bytes),
            workspace,
            hash: hash.to_owned(),
            announced_size: size,
            created_at: now(),
        };
        let upload = self.inner.objects.begin(bytes).await?;
        Ok(ObjectUpload { store: self.clone(), upload, row, bytes })
    }

    /// The id under which this content is recorded, whether or not its bytes are there.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn object_id(
        &self,
        workspace: WorkspaceId,
        hash: &str,
    ) -> Result<Option<ObjectId>, StoreError> {
        let id: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT id FROM objects WHERE workspace = ? AND hash = ?")
                .bind(&workspace.0.as_bytes()[..])
                .bind(hash)
                .fetch_optional(self.readers())
                .await
                .map_err(database("look up an object"))?;
        let id = id.map(|id| Uuid::from_slice(&id)).transpose();
        let id = id.map_err(|error| sqlx::Error::Decode(error.into()));
        Ok(id.map_err(database("look up an object"))?.map(ObjectId))
    }

    /// The file of an object's bytes, if the workspace has the object and they are there.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn object_file(
        &self,
        workspace: WorkspaceId,
        id: ObjectId,
    ) -> Result<Option<std::fs::File>, StoreError> {
        let files = &self.inner.objects;
        if !self.object_exists(workspace, id).await? || !files.has(id).await? {
            return Ok(None);
        }
        files.file(id).await.map(Some)
    }

    /// An object's size in bytes, and its bytes. Whether the reader's workspace may have it is
    /// asked with [`Store::object_exists`].
    ///
    /// # Errors
    /// [`StoreError::ObjectLost`] if the object is known but its bytes are gone; or the state
    /// cannot be read.
    pub async fn object_reader(
        &self,
        id: ObjectId,
    ) -> Result<Option<(u64, ObjectStream)>, StoreError> {
        let known: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM objects WHERE id = ?)")
            .bind(&id.0.as_bytes()[..])
            .fetch_one(self.readers())
            .await
            .map_err(database("look up an object"))?;
        if !known {
            return Ok(None);
        }
        let found = match self.inner.objects.0.get(&path(id)).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => {
                return Err(StoreError::ObjectLost { object: id });
            }
            Err(error) => return Err(objects("open an object")(error)),
        };
        let size = found.meta.size;
        let stream = match found.payload {
            // A file is read in larger pieces than the object store would.
            GetResultPayload::File(file, _) => {
                ReaderStream::with_capacity(tokio::fs::File::from_std(file), CHUNK).boxed()
            }
            GetResultPayload::Stream(stream) => stream.map_err(io::Error::other).boxed(),
        };
        Ok(Some((size, stream)))
    }

    /// `true` if the workspace has this object.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn object_exists(
        &self,
        workspace: WorkspaceId,
        id: ObjectId,
    ) -> Result<bool, StoreError> {
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM objects WHERE id = ? AND workspace = ?)")
            .bind(&id.0.as_bytes()[..])
            .bind(&workspace.0.as_bytes()[..])
            .fetch_one(self.readers())
            .await
            .map_err(database("look up an object"))
    }
}

/// The id under which the object is recorded: this one's, or the one that was there.
async fn insert_object(
    row: &ObjectRow,
    conn: &mut SqliteConnection,
) -> Result<ObjectId, sqlx::Error> {
    let inserted = sqlx::query(
        "INSERT INTO objects (id, workspace, hash, announced_size, created_at, used_at) \
         VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (workspace, hash) DO NOTHING",
    )
    .bind(&row.id.0.as_bytes()[..])
    .bind(&row.workspace.0.as_bytes()[..])
    .bind(&row.hash)
    .bind(row.announced_size)
    .bind(row.created_at)
    .bind(row.created_at)
    .execute(&mut *conn)
    .await?;
    if inserted.rows_affected() > 0 {
        return Ok(row.id);
    }
    let id: Vec<u8> = sqlx::query_scalar(
        "UPDATE objects SET used_at = ? WHERE workspace = ? AND hash = ? RETURNING id",
    )
    .bind(row.created_at)
    .bind(&row.workspace.0.as_bytes()[..])
    .bind(&row.hash)
    .fetch_one(conn)
    .await?;
    let id = Uuid::from_slice(&id).map_err(|error| sqlx::Error::Decode(error.into()))?;
    Ok(ObjectId(id))
}
