//! Code archives: rows in the database, bytes in the object store. Outputs share the directory.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use metal9_types::{ObjectId, WorkspaceId};
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{GetResultPayload, ObjectStoreExt, WriteMultipart};
use sqlx::{Row, SqliteConnection};
use tokio_util::io::ReaderStream;
use uuid::Uuid;

use crate::clock::{new_uuid, now};
use crate::columns::Columns;
use crate::directory::{create_private, file_error};
use crate::retention::Used;
use crate::store::database;
use crate::{Store, StoreError, UnixMicros};

/// Bytes read from an object at a time.
const CHUNK: usize = 256 * 1024;

/// Parts of an upload that may be on their way to the disk at a time.
pub(crate) const PARTS: usize = 4;

/// Characters of a content hash at most.
const LONGEST_HASH: usize = 256;

/// An object's bytes, in order.
pub type ObjectStream = BoxStream<'static, io::Result<Bytes>>;

/// Where the bytes are.
pub(crate) struct ObjectFiles(Arc<LocalFileSystem>);

impl ObjectFiles {
    /// Opens the directory and removes what uploads that a crash interrupted have left there.
    pub(crate) async fn open(
        dir: &Path,
        connection: &mut SqliteConnection,
    ) -> Result<Self, StoreError> {
        create_private(dir)?;
        let known = sqlx::query("SELECT id FROM objects UNION ALL SELECT id FROM outputs")
            .fetch_all(connection)
            .await
            .map_err(database("list objects"))?;
        let known: HashSet<String> = known
            .iter()
            .filter_map(|row| row.try_get::<&[u8], _>("id").ok())
            .filter_map(|bytes| Uuid::from_slice(bytes).ok())
            .map(|id| id.to_string())
            .collect();
        let swept = dir.to_owned();
        let sweep = tokio::task::spawn_blocking(move || remove_others(&swept, &known));
        sweep
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(|source| file_error("tidy", dir, source))?;
        let files = LocalFileSystem::new_with_prefix(dir)
            .map_err(objects("open the objects"))?
            .with_fsync(true);
        Ok(Self(Arc::new(files)))
    }

    /// Removes an object's bytes; one that has none is no error.
    pub(crate) async fn delete(&self, id: ObjectId) -> Result<(), StoreError> {
        match self.0.delete(&path(id)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(objects("remove an object")(error)),
        }
    }

    /// The file of an object's bytes.
    pub(crate) async fn file(&self, id: ObjectId) -> Result<std::fs::File, StoreError> {
        let found = self.0.get(&path(id)).await.map_err(objects("open an object"))?;
        match found.payload {
            GetResultPayload::File(file, _) => Ok(file),
            GetResultPayload::Stream(_) => Err(StoreError::ObjectLost { object: id }),
        }
    }

    /// Begins to write an object's bytes.
    pub(crate) async fn begin(&self, id: ObjectId) -> Result<WriteMultipart, StoreError> {
        let upload = self.0.put_multipart(&path(id)).await.map_err(objects("begin an object"))?;
        Ok(WriteMultipart::new(upload))
    }

    async fn has(&self, id: ObjectId) -> Result<bool, StoreError> {
        match self.0.head(&path(id)).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(objects("look for an object")(error)),
        }
    }
}

/// An object on its way in. Dropping it before [`ObjectUpload::finish`] leaves nothing.
pub struct ObjectUpload {
    store: Store,
    upload: WriteMultipart,
    row: ObjectRow,
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
        let Self { store, upload, row } = self;
        let new = row.id;
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
        Ok(Self::record(store, row).await?)
    }

    async fn record(store: Store, row: ObjectRow) -> Result<ObjectId, StoreError> {
        let new = row.id;
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
            // The bytes of the one that is recorded were lost; these are the same.
            files.0.rename(&path(new), &path(id)).await.map_err(objects("restore an object"))?;
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
        if hash.is_empty() || hash.len() > LONGEST_HASH {
            return Err(StoreError::Invalid {
                what: "object hash",
                value: hash.chars().take(32).collect(),
                expected: "1 to 256 characters",
            });
        }
        let row = ObjectRow {
            id: ObjectId(new_uuid()),
            workspace,
            hash: hash.to_owned(),
            announced_size: size,
            created_at: now(),
        };
        let upload = self.inner.objects.begin(row.id).await?;
        Ok(ObjectUpload { store: self.clone(), upload, row })
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

/// Spread over 256 directories by the last two digits, which are random.
fn path(id: ObjectId) -> ObjectPath {
    let id = id.to_string();
    let (_, tail) = id.split_at(id.len() - 2);
    ObjectPath::from_iter([tail, id.as_str()])
}

fn remove_others(dir: &Path, known: &HashSet<String>) -> io::Result<()> {
    for shelf in std::fs::read_dir(dir)? {
        let shelf = shelf?;
        if !shelf.file_type()?.is_dir() {
            continue;
        }
        for file in std::fs::read_dir(shelf.path())? {
            let file: PathBuf = file?.path();
            let name = file.file_name().and_then(|name| name.to_str());
            if name.is_none_or(|name| !known.contains(name)) {
                match std::fs::remove_file(&file) {
                    // An upload that was dropped a moment ago may be removing it as well.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    removed => removed?,
                }
            }
        }
    }
    Ok(())
}

pub(crate) fn objects(doing: &'static str) -> impl Fn(object_store::Error) -> StoreError {
    move |source| {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&source);
        while let Some(error) = cause {
            let io = error.downcast_ref::<io::Error>();
            if io.is_some_and(|error| error.kind() == io::ErrorKind::StorageFull) {
                return StoreError::Full { doing };
            }
            cause = error.source();
        }
        StoreError::Objects { doing, source }
    }
}
