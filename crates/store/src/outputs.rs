//! Files that tasks leave: rows in the database, bytes beside the code archives.
//!
//! A file is stored under its id alone. Its name is the user's text, only told and never a path.

use std::fmt;
use std::fs::File;

use bytes::Bytes;
use metal9_types::{ObjectId, OutputId, TaskId, WorkspaceId};
use object_store::WriteMultipart;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use crate::clock::{new_uuid, now};
use crate::columns::Columns;
use crate::objects::{PARTS, objects};
use crate::store::database;
use crate::{Store, StoreError, UnixMicros};

/// Bytes of one output at most.
pub const MAX_OUTPUT_BYTES: u64 = 8 * 1024 * 1024 * 1024;

/// Outputs of one task at most.
const MOST_PER_TASK: i64 = 1000;

/// Bytes of a file's name at most: what file systems allow.
const LONGEST_FILENAME: usize = 255;

const OUTPUT: &str = "output";

/// A file that a task left.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutputRow {
    /// Its id.
    pub id: OutputId,
    /// Whose it is.
    pub workspace: WorkspaceId,
    /// The task that left it.
    pub task: TaskId,
    /// What the user calls it: one path component.
    pub filename: String,
    /// Bytes.
    pub size: u64,
    /// When it was saved.
    pub created_at: UnixMicros,
}

/// An output on its way in. Dropping it before [`OutputUpload::finish`] leaves nothing.
pub struct OutputUpload {
    store: Store,
    upload: WriteMultipart,
    row: OutputRow,
}

impl fmt::Debug for OutputUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutputUpload").field("output", &self.row.id).finish_non_exhaustive()
    }
}

impl OutputUpload {
    /// Adds bytes at the end. Waits while the disk is slower than the caller.
    ///
    /// # Errors
    /// When the output gets too large ([`StoreError::OverLimit`]), or bytes written before could
    /// not be.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.row.size += bytes.len() as u64;
        if self.row.size > MAX_OUTPUT_BYTES {
            let most = MAX_OUTPUT_BYTES >> 30;
            let hint = "keep larger files in a volume";
            let what = format!("an output may have {most} GiB\nhint: {hint}");
            return Err(StoreError::OverLimit { what });
        }
        self.upload.wait_for_capacity(PARTS).await.map_err(objects("write an output"))?;
        self.upload.put(bytes);
        Ok(())
    }

    /// Makes the output visible once all its bytes are on disk.
    ///
    /// # Errors
    /// When the task has too many outputs ([`StoreError::OverLimit`]) or is not there
    /// ([`StoreError::Missing`]), or the output cannot be written.
    pub async fn finish(self) -> Result<OutputRow, StoreError> {
        let Self { store, upload, row } = self;
        upload.finish().await.map_err(objects("finish an output"))?;
        let object = ObjectId(row.id.0);
        let kept = store
            .write("record an output", row.clone(), |row, conn| Box::pin(insert(row, conn)))
            .await;
        let refused = match kept {
            Ok(Kept::Yes) => return Ok(row),
            Ok(Kept::NoTask) => StoreError::Missing { kind: "task", name: row.task.to_string() },
            Ok(Kept::TooMany) => StoreError::OverLimit {
                what: format!(
                    "a task may save {MOST_PER_TASK} outputs\nhint: save a directory, which is one \
                     output"
                ),
            },
            Err(error) => error,
        };
        store.inner.objects.delete(object).await?;
        Err(refused)
    }
}

impl Store {
    /// Begins an output of a task.
    ///
    /// # Errors
    /// When the name is not a file's ([`StoreError::Invalid`]), or the file cannot be made.
    pub async fn put_output(
        &self,
        workspace: WorkspaceId,
        task: TaskId,
        filename: &str,
    ) -> Result<OutputUpload, StoreError> {
        check_filename(filename)?;
        let id = OutputId(new_uuid());
        let filename = filename.to_owned();
        let row = OutputRow { id, workspace, task, filename, size: 0, created_at: now() };
        let upload = self.inner.objects.begin(ObjectId(id.0)).await?;
        Ok(OutputUpload { store: self.clone(), upload, row })
    }

    /// An output.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn output(&self, id: OutputId) -> Result<Option<OutputRow>, StoreError> {
        let row = sqlx::query(
            "SELECT id, workspace, task, filename, size, created_at FROM outputs WHERE id = ?",
        )
        .bind(&id.0.as_bytes()[..])
        .fetch_optional(self.readers())
        .await
        .map_err(database("look up an output"))?;
        row.as_ref().map(output_row).transpose()
    }

    /// The outputs of a task, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn task_outputs(&self, task: TaskId) -> Result<Vec<OutputRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, workspace, task, filename, size, created_at FROM outputs \
             WHERE task = ? ORDER BY id",
        )
        .bind(&task.0.as_bytes()[..])
        .fetch_all(self.readers())
        .await
        .map_err(database("list outputs"))?;
        rows.iter().map(output_row).collect()
    }

    /// The file of an output's bytes.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub async fn output_file(&self, id: OutputId) -> Result<File, StoreError> {
        self.inner.objects.file(ObjectId(id.0)).await
    }
}

fn check_filename(name: &str) -> Result<(), StoreError> {
    let component = !name.is_empty()
        && name.len() <= LONGEST_FILENAME
        && !matches!(name, "." | "..")
        && !name.contains(['/', '\\'])
        && !name.chars().any(char::is_control);
    if component {
        return Ok(());
    }
    Err(StoreError::Invalid {
        what: "file name",
        value: name.chars().filter(|c| !c.is_control()).take(64).collect(),
        expected: "the name of a file without a directory, at most 255 bytes",
    })
}

fn output_row(row: &SqliteRow) -> Result<OutputRow, StoreError> {
    let columns = Columns { what: OUTPUT, row };
    Ok(OutputRow {
        id: OutputId(columns.uuid("id")?),
        workspace: WorkspaceId(columns.uuid("workspace")?),
        task: TaskId(columns.uuid("task")?),
        filename: columns.text("filename")?,
        size: u64::try_from(columns.number("size")?).unwrap_or(0),
        created_at: columns.number("created_at")?,
    })
}

/// What became of an output.
enum Kept {
    Yes,
    /// The task has as many as it may.
    TooMany,
    /// There is no such task, or none any more: nothing would ever remove its output.
    NoTask,
}

async fn insert(row: &OutputRow, conn: &mut SqliteConnection) -> Result<Kept, sqlx::Error> {
    let done = sqlx::query(
        "INSERT INTO outputs (id, workspace, task, filename, size, created_at) \
         SELECT ?1, workspace, id, ?4, ?5, ?6 FROM tasks WHERE id = ?3 AND workspace = ?2 \
         AND (SELECT count(*) FROM outputs WHERE task = ?3) < ?7",
    )
    .bind(&row.id.0.as_bytes()[..])
    .bind(&row.workspace.0.as_bytes()[..])
    .bind(&row.task.0.as_bytes()[..])
    .bind(&row.filename)
    .bind(i64::try_from(row.size).unwrap_or(i64::MAX))
    .bind(row.created_at)
    .bind(MOST_PER_TASK)
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() > 0 {
        return Ok(Kept::Yes);
    }
    let task = sqlx::query("SELECT 1 FROM tasks WHERE id = ? AND workspace = ?")
        .bind(&row.task.0.as_bytes()[..])
        .bind(&row.workspace.0.as_bytes()[..])
        .fetch_optional(conn)
        .await?;
    Ok(if task.is_some() { Kept::TooMany } else { Kept::NoTask })
}
