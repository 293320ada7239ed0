//! Volumes and the uploads into them: rows only. Their files are not the store's.

use metal9_types::{UploadId, VolumeId, WorkspaceId};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use crate::clock::{new_uuid, now};
use crate::columns::Columns;
use crate::store::database;
use crate::{By, Store, StoreError, UnixMicros};

/// Bytes of a volume's name at most.
const LONGEST_NAME: usize = 128;
/// Volumes of a workspace at most.
const MOST_VOLUMES: i64 = 1000;
/// Uploads of a workspace that are not finished at most.
const MOST_UPLOADS: i64 = 1000;

const VOLUME: &str = "volume";
const UPLOAD: &str = "upload";

/// A volume.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VolumeRow {
    /// Its id, which also names its directory.
    pub id: VolumeId,
    /// Whose it is.
    pub workspace: WorkspaceId,
    /// Its name in the workspace.
    pub name: String,
    /// When it was made.
    pub created_at: UnixMicros,
    /// When it was last changed through the gateway.
    pub updated_at: UnixMicros,
}

/// A file on its way into a volume.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UploadRow {
    /// Its id.
    pub id: UploadId,
    /// Whose it is.
    pub workspace: WorkspaceId,
    /// The volume it goes to.
    pub volume: VolumeId,
    /// The path in it.
    pub path: String,
    /// Bytes of the whole file.
    pub size: u64,
    /// Bytes of every part but the last.
    pub chunk: u64,
}

impl By<'_> {
    /// The workspace's volume of this name, made if it is not there.
    ///
    /// # Errors
    /// When the name is not one ([`StoreError::Invalid`]), there are too many
    /// ([`StoreError::OverLimit`]), or the database cannot be written.
    pub async fn get_or_create_volume(
        &self,
        workspace: WorkspaceId,
        name: &str,
    ) -> Result<VolumeRow, StoreError> {
        if let Some(there) = self.store.volume_named(workspace, name).await? {
            return Ok(there);
        }
        check_name(name)?;
        let at = now();
        let id = VolumeId(new_uuid());
        let row =
            VolumeRow { id, workspace, name: name.to_owned(), created_at: at, updated_at: at };
        let made = self
            .store
            .write_noted(
                "make a volume",
                self.actor.or_in(workspace).did("volume.create", name),
                row.clone(),
                |row, conn| Box::pin(insert_volume(row, conn)),
                |made| *made,
            )
            .await?;
        if made {
            return Ok(row);
        }
        // Somebody else has made it at the same time, or there are too many.
        self.store.volume_named(workspace, name).await?.ok_or_else(|| StoreError::OverLimit {
            what: format!(
                "a workspace may have {MOST_VOLUMES} volumes\nhint: delete one with `beta9 volume \
                 delete NAME`"
            ),
        })
    }

    /// Deletes a volume: from now on nobody finds it. Its id, for its files; nothing if the
    /// workspace has no such volume.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn delete_volume(
        &self,
        workspace: WorkspaceId,
        name: &str,
    ) -> Result<Option<VolumeId>, StoreError> {
        let Some(row) = self.store.volume_named(workspace, name).await? else { return Ok(None) };
        let deleted = self
            .store
            .change_noted(
                "delete a volume",
                self.actor.or_in(workspace).did("volume.delete", name),
                row.id,
                |id, conn| {
                    Box::pin(
                        sqlx::query(
                            "UPDATE volumes SET name = NULL WHERE id = ? AND name IS NOT NULL",
                        )
                        .bind(&id.0.as_bytes()[..])
                        .execute(conn),
                    )
                },
            )
            .await?;
        Ok(deleted.then_some(row.id))
    }
}

impl Store {
    /// The workspace's volume of this name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn volume_named(
        &self,
        workspace: WorkspaceId,
        name: &str,
    ) -> Result<Option<VolumeRow>, StoreError> {
        let row = sqlx::query(
            "SELECT id, workspace, name, created_at, updated_at FROM volumes \
             WHERE workspace = ? AND name = ?",
        )
        .bind(&workspace.0.as_bytes()[..])
        .bind(name)
        .fetch_optional(self.readers())
        .await
        .map_err(database("look up a volume"))?;
        row.as_ref().map(volume_row).transpose()
    }

    /// A volume of the workspace.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn volume(
        &self,
        workspace: WorkspaceId,
        id: VolumeId,
    ) -> Result<Option<VolumeRow>, StoreError> {
        let row = sqlx::query(
            "SELECT id, workspace, name, created_at, updated_at FROM volumes \
             WHERE id = ? AND workspace = ? AND name IS NOT NULL",
        )
        .bind(&id.0.as_bytes()[..])
        .bind(&workspace.0.as_bytes()[..])
        .fetch_optional(self.readers())
        .await
        .map_err(database("look up a volume"))?;
        row.as_ref().map(volume_row).transpose()
    }

    /// The workspace's volumes, by name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn list_volumes(&self, workspace: WorkspaceId) -> Result<Vec<VolumeRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, workspace, name, created_at, updated_at FROM volumes \
             WHERE workspace = ? AND name IS NOT NULL ORDER BY name",
        )
        .bind(&workspace.0.as_bytes()[..])
        .fetch_all(self.readers())
        .await
        .map_err(database("list volumes"))?;
        rows.iter().map(volume_row).collect()
    }

    /// Notes that a volume's files were changed.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn touch_volume(&self, id: VolumeId) -> Result<(), StoreError> {
        self.write_later("note a change", (id, now()), |(id, now), conn| {
            Box::pin(async move {
                sqlx::query("UPDATE volumes SET updated_at = ? WHERE id = ?")
                    .bind(*now)
                    .bind(&id.0.as_bytes()[..])
                    .execute(conn)
                    .await
                    .map(drop)
            })
        })
        .await
    }

    /// Volumes that are deleted and whose files may still be there.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn deleted_volumes(&self) -> Result<Vec<VolumeId>, StoreError> {
        let doing = "list deleted volumes";
        let rows = sqlx::query("SELECT id FROM volumes WHERE name IS NULL")
            .fetch_all(self.readers())
            .await
            .map_err(database(doing))?;
        rows.iter().map(|row| Ok(VolumeId(Columns { what: VOLUME, row }.uuid("id")?))).collect()
    }

    /// Forgets a deleted volume whose files are gone.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn forget_volume(&self, id: VolumeId) -> Result<(), StoreError> {
        self.write_later("forget a volume", id, |id, conn| {
            Box::pin(async move {
                sqlx::query("DELETE FROM volumes WHERE id = ? AND name IS NULL")
                    .bind(&id.0.as_bytes()[..])
                    .execute(conn)
                    .await
                    .map(drop)
            })
        })
        .await
    }

    /// Begins an upload in parts.
    ///
    /// # Errors
    /// When the workspace has too many ([`StoreError::OverLimit`]), or the database cannot be
    /// written.
    pub async fn begin_upload(
        &self,
        volume: &VolumeRow,
        path: &str,
        size: u64,
        chunk: u64,
    ) -> Result<UploadRow, StoreError> {
        let id = UploadId(new_uuid());
        let (workspace, path) = (volume.workspace, path.to_owned());
        let row = UploadRow { id, workspace, volume: volume.id, path, size, chunk };
        let begun = self
            .write("begin an upload", row.clone(), |row, conn| Box::pin(insert_upload(row, conn)))
            .await?;
        if begun {
            return Ok(row);
        }
        Err(StoreError::OverLimit {
            what: format!(
                "a workspace may have {MOST_UPLOADS} uploads that are not finished\nhint: wait for \
                 some to end; those that nobody finishes are removed after a day"
            ),
        })
    }

    /// An upload that is not finished.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn upload(&self, id: UploadId) -> Result<Option<UploadRow>, StoreError> {
        let row = sqlx::query(
            "SELECT id, workspace, volume, path, size, chunk FROM volume_uploads WHERE id = ?",
        )
        .bind(&id.0.as_bytes()[..])
        .fetch_optional(self.readers())
        .await
        .map_err(database("look up an upload"))?;
        row.as_ref().map(upload_row).transpose()
    }

    /// Notes that a part is on disk; `false` if the upload is not there any more.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn upload_part_came(
        &self,
        id: UploadId,
        number: u32,
        etag: &str,
    ) -> Result<bool, StoreError> {
        let data = (id, number, etag.to_owned());
        self.write("note a part", data, |(id, number, etag), conn| {
            Box::pin(async move {
                let done = sqlx::query(
                    "INSERT INTO volume_upload_parts (upload, number, etag) \
                     SELECT id, ?2, ?3 FROM volume_uploads WHERE id = ?1 \
                     ON CONFLICT (upload, number) DO UPDATE SET etag = excluded.etag",
                )
                .bind(&id.0.as_bytes()[..])
                .bind(*number)
                .bind(etag)
                .execute(conn)
                .await?;
                Ok(done.rows_affected() > 0)
            })
        })
        .await
    }

    /// The parts of an upload that are on disk: numbers and etags, by number.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn upload_parts(&self, id: UploadId) -> Result<Vec<(u32, String)>, StoreError> {
        let doing = "list parts";
        let rows = sqlx::query(
            "SELECT number, etag FROM volume_upload_parts WHERE upload = ? ORDER BY number",
        )
        .bind(&id.0.as_bytes()[..])
        .fetch_all(self.readers())
        .await
        .map_err(database(doing))?;
        rows.iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .collect::<Result<_, sqlx::Error>>()
            .map_err(database(doing))
    }

    /// Ends an upload, finished or not; `false` if it was not there.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn end_upload(&self, id: UploadId) -> Result<bool, StoreError> {
        self.write("end an upload", id, |id, conn| {
            Box::pin(async move {
                let done = sqlx::query("DELETE FROM volume_uploads WHERE id = ?")
                    .bind(&id.0.as_bytes()[..])
                    .execute(conn)
                    .await?;
                Ok(done.rows_affected() > 0)
            })
        })
        .await
    }

    /// Uploads that were begun before a moment and are not finished.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn stale_uploads(&self, before: UnixMicros) -> Result<Vec<UploadId>, StoreError> {
        let doing = "list old uploads";
        let rows = sqlx::query("SELECT id FROM volume_uploads WHERE created_at < ? LIMIT 1000")
            .bind(before)
            .fetch_all(self.readers())
            .await
            .map_err(database(doing))?;
        rows.iter().map(|row| Ok(UploadId(Columns { what: UPLOAD, row }.uuid("id")?))).collect()
    }
}

fn check_name(name: &str) -> Result<(), StoreError> {
    let good = !name.is_empty()
        && name.len() <= LONGEST_NAME
        && !matches!(name, "." | "..")
        && !name.contains(['/', '\\', '*', '?', '['])
        && !name.chars().any(char::is_control);
    if good {
        return Ok(());
    }
    Err(StoreError::Invalid {
        what: "volume name",
        value: name.chars().filter(|c| !c.is_control()).take(64).collect(),
        expected: "1 to 128 bytes without `/`, `\\`, `*`, `?` and `[`",
    })
}

fn volume_row(row: &SqliteRow) -> Result<VolumeRow, StoreError> {
    let columns = Columns { what: VOLUME, row };
    Ok(VolumeRow {
        id: VolumeId(columns.uuid("id")?),
        workspace: WorkspaceId(columns.uuid("workspace")?),
        name: columns.text("name")?,
        created_at: columns.number("created_at")?,
        updated_at: columns.number("updated_at")?,
    })
}

fn upload_row(row: &SqliteRow) -> Result<UploadRow, StoreError> {
    let columns = Columns { what: UPLOAD, row };
    Ok(UploadRow {
        id: UploadId(columns.uuid("id")?),
        workspace: WorkspaceId(columns.uuid("workspace")?),
        volume: VolumeId(columns.uuid("volume")?),
        path: columns.text("path")?,
        size: u64::try_from(columns.number("size")?).unwrap_or(0),
        chunk: u64::try_from(columns.number("chunk")?).unwrap_or(0),
    })
}

async fn insert_volume(row: &VolumeRow, conn: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "INSERT INTO volumes (id, workspace, name, created_at, updated_at) \
         SELECT ?1, ?2, ?3, ?4, ?4 WHERE (SELECT count(*) FROM volumes WHERE workspace = ?2) < ?5 \
         ON CONFLICT (workspace, name) DO NOTHING",
    )
    .bind(&row.id.0.as_bytes()[..])
    .bind(&row.workspace.0.as_bytes()[..])
    .bind(&row.name)
    .bind(row.created_at)
    .bind(MOST_VOLUMES)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

async fn insert_upload(row: &UploadRow, conn: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let done = sqlx::query(
        "INSERT INTO volume_uploads (id, workspace, volume, path, size, chunk, created_at) \
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 \
         WHERE (SELECT count(*) FROM volume_uploads WHERE workspace = ?2) < ?8",
    )
    .bind(&row.id.0.as_bytes()[..])
    .bind(&row.workspace.0.as_bytes()[..])
    .bind(&row.volume.0.as_bytes()[..])
    .bind(&row.path)
    .bind(number(row.size))
    .bind(number(row.chunk))
    .bind(now())
    .bind(MOST_UPLOADS)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}
