//! Where the bytes of objects and outputs are.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use metal9_types::ObjectId;
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{GetResultPayload, ObjectStoreExt, WriteMultipart};
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use crate::StoreError;
use crate::directory::{create_private, file_error};
use crate::store::database;

/// Where the bytes are.
pub(crate) struct ObjectFiles(pub(super) Arc<LocalFileSystem>);

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

    pub(super) async fn has(&self, id: ObjectId) -> Result<bool, StoreError> {
        match self.0.head(&path(id)).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(objects("look for an object")(error)),
        }
    }
}

/// Spread over 256 directories by the last two digits, which are random.
pub(super) fn path(id: ObjectId) -> ObjectPath {
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
