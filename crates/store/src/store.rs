//! Opening and closing the store, and the two ways to its database.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use metal9_tasks::CancellationToken;
use metal9_types::WorkspaceId;
use sqlx::migrate::MigrateError;
use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, SqliteConnection};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use crate::cache::Cache;
use crate::directory::{self, file_error};
use crate::identity::IdentityCache;
use crate::images::ImageCache;
use crate::keys::Keys;
use crate::objects::ObjectFiles;
use crate::stubs::StubCache;
use crate::writer::{Apply, ApplyFramed, Sync, Way, Writer};
use crate::{StoreError, TaskLogs, rotation};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();

/// Connections that read at a time.
const READERS: u32 = 4;

/// What a connection keeps of the database in memory: 2 MiB (a negative number is KiB), so that the
/// readers and the writer together keep 10 MiB at most, however large the database is.
const PAGE_CACHE: &str = "-2048";

/// The gateway's durable state. Cloning it is cheap and gives the same store.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    epoch: u32,
    pub(crate) keys: Keys,
    writer: Writer,
    readers: SqlitePool,
    closing: CancellationToken,
    writer_end: Mutex<Option<JoinHandle<()>>>,
    pub(crate) identities: IdentityCache,
    pub(crate) stubs: StubCache,
    pub(crate) images: ImageCache,
    pub(crate) workspace_names: Cache<WorkspaceId, String>,
    pub(crate) objects: ObjectFiles,
    logs: TaskLogs,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("epoch", &self.inner.epoch).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the state in `dir`, which is made if it is not there, for this process alone.
    ///
    /// # Errors
    /// When another process has it open ([`StoreError::InUse`]), when a file in it cannot be used,
    /// or when the key file is not the one the database was made with.
    pub async fn open(dir: &Path) -> Result<Self, StoreError> {
        directory::create_private(dir)?;
        let lock = directory::lock(dir)?;
        let options = connect_options(&dir.join("state.db"));
        let mut connection = open_writer(dir).await?;
        let keys = open_keys(&dir.join("secret.key"), &mut connection).await?;
        let epoch = next_epoch(&mut connection).await.map_err(database("count the start"))?;
        let objects = ObjectFiles::open(&dir.join("objects"), &mut connection).await?;
        let logs_dir = dir.join("logs");
        directory::create_private(&logs_dir)?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(options.read_only(true).create_if_missing(false));
        let closing = CancellationToken::new();
        let (writer, end) = Writer::start(connection, lock, closing.clone());
        Ok(Self {
            inner: Arc::new(Inner {
                epoch,
                keys,
                writer,
                readers,
                closing,
                writer_end: Mutex::new(Some(end)),
                identities: IdentityCache::default(),
                stubs: StubCache::default(),
                images: ImageCache::default(),
                workspace_names: Cache::default(),
                objects,
                logs: TaskLogs::new(logs_dir),
            }),
        })
    }

    /// Commits what is queued and lets go of the directory. Later calls of any clone fail with
    /// [`StoreError::Closed`].
    pub async fn close(&self) {
        self.inner.readers.close().await;
        self.inner.closing.cancel();
        if let Some(end) = self.inner.writer_end.lock().await.take() {
            // A writer that panicked was logged by name and has let go of the directory too.
            let _ = end.await;
        }
    }

    /// How often this state has been opened; 1 the first time.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.inner.epoch
    }

    /// A key for signatures, the same for as long as the state lives.
    #[must_use]
    pub fn signing_key(&self) -> &[u8; 32] {
        &self.inner.keys.signing
    }

    /// Commits since the store was opened. Changes made at the same time share one.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.inner.writer.commits()
    }

    /// The logs of all tasks.
    #[must_use]
    pub fn logs(&self) -> &TaskLogs {
        &self.inner.logs
    }

    /// Applies a change and waits until it is on disk.
    pub(crate) async fn write<D, T>(
        &self,
        doing: &'static str,
        data: D,
        apply: Apply<D, T>,
    ) -> Result<T, StoreError>
    where
        D: Send + std::marker::Sync + 'static,
        T: Send + 'static,
    {
        self.apply(Sync::Disk, doing, data, Way::Plain(apply)).await
    }

    /// Applies a change that may be lost in a power cut, and waits until it is visible.
    pub(crate) async fn write_later<D, T>(
        &self,
        doing: &'static str,
        data: D,
        apply: Apply<D, T>,
    ) -> Result<T, StoreError>
    where
        D: Send + std::marker::Sync + 'static,
        T: Send + 'static,
    {
        self.apply(Sync::Later, doing, data, Way::Plain(apply)).await
    }

    /// The same as [`Store::write`] for what every call waits for, with a choice of what the answer waits for.
    pub(crate) async fn write_framed<D, T>(
        &self,
        sync: Sync,
        doing: &'static str,
        data: D,
        apply: ApplyFramed<D, T>,
    ) -> Result<T, StoreError>
    where
        D: Send + std::marker::Sync + 'static,
        T: Send + 'static,
    {
        self.apply(sync, doing, data, Way::Framed(apply)).await
    }

    async fn apply<D, T>(
        &self,
        sync: Sync,
        doing: &'static str,
        data: D,
        way: Way<D, T>,
    ) -> Result<T, StoreError>
    where
        D: Send + std::marker::Sync + 'static,
        T: Send + 'static,
    {
        match self.inner.writer.apply(sync, data, way).await {
            Some(outcome) => outcome.map_err(database(doing)),
            None => Err(StoreError::Closed),
        }
    }

    pub(crate) fn readers(&self) -> &SqlitePool {
        &self.inner.readers
    }
}

fn connect_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(5))
        // 16 MiB of log between checkpoints: each costs further waits for the disk.
        .pragma("wal_autocheckpoint", "4000")
        // What a burst has made of it beyond that goes back to the disk, which may be short of room.
        .pragma("journal_size_limit", "16777216")
        .pragma("cache_size", PAGE_CACHE)
        .disable_statement_logging()
}

/// The connection that writes, with tables of this version's shape.
pub(crate) async fn open_writer(dir: &Path) -> Result<SqliteConnection, StoreError> {
    let path = dir.join("state.db");
    // For a database that is new: what is removed can be cut off its file.
    let options = connect_options(&path).auto_vacuum(SqliteAutoVacuum::Incremental);
    let mut connection = options.connect().await.map_err(database("open the state"))?;
    MIGRATIONS.run_direct(None, &mut connection, false).await.map_err(|source| match source {
        MigrateError::VersionMissing(version) => StoreError::Newer { path, version },
        source => StoreError::Migrate { path, source },
    })?;
    Ok(connection)
}

/// The key file, checked against the database: with another one, no secret could be read.
pub(crate) async fn open_keys(
    path: &Path,
    connection: &mut SqliteConnection,
) -> Result<Keys, StoreError> {
    let doing = "check the key file";
    let known: Option<Vec<u8>> = sqlx::query_scalar("SELECT fingerprint FROM key_file")
        .fetch_optional(&mut *connection)
        .await
        .map_err(database(doing))?;
    if let Some(known) = &known {
        rotation::settle(path, known)?;
    }
    if known.is_some() && !path.exists() {
        let why = "is missing: expected the one that was made with the database beside it";
        return Err(StoreError::Key { path: path.to_owned(), why });
    }
    let keys = Keys::open(path, known.is_none())?;
    match known {
        Some(known) if known == keys.fingerprint => {}
        Some(_) => {
            let why = "belongs to another database than the one beside it";
            return Err(StoreError::Key { path: path.to_owned(), why });
        }
        None => {
            sqlx::query("INSERT INTO key_file (fingerprint) VALUES (?)")
                .bind(&keys.fingerprint[..])
                .execute(connection)
                .await
                .map_err(database(doing))?;
        }
    }
    Ok(keys)
}

async fn next_epoch(connection: &mut SqliteConnection) -> Result<u32, sqlx::Error> {
    sqlx::query_scalar("UPDATE meta SET value = value + 1 WHERE key = 'epoch' RETURNING value")
        .fetch_one(connection)
        .await
}

/// Whether SQLite's code says that the disk is full.
fn is_no_room(code: &str) -> bool {
    const SQLITE_FULL: &str = "13";
    // The index beside the log of writes could not grow, which SQLite calls an I/O error.
    const SQLITE_IOERR_SHMSIZE: &str = "4874";
    [SQLITE_FULL, SQLITE_IOERR_SHMSIZE].contains(&code)
}

/// Turns an error of the database into one of the store.
pub(crate) fn database(doing: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
    move |source| match source {
        sqlx::Error::PoolClosed => StoreError::Closed,
        sqlx::Error::Database(error) if error.code().is_some_and(|code| is_no_room(&code)) => {
            StoreError::Full { doing }
        }
        sqlx::Error::Io(error) => file_error(doing, Path::new("state.db"), error),
        source => StoreError::Database { doing, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_connection_keeps_a_bounded_part_of_the_database_in_memory() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).await.unwrap();
        let sizes = async |conn: &mut SqliteConnection| {
            let pages: i64 = sqlx::query_scalar("PRAGMA cache_size").fetch_one(&mut *conn).await?;
            let mapped: Option<i64> =
                sqlx::query_scalar("PRAGMA mmap_size").fetch_optional(conn).await?;
            Ok::<_, sqlx::Error>((pages, mapped.unwrap_or(0)))
        };
        let mut readers = Vec::new();
        for _ in 0..READERS {
            let mut reader = store.readers().acquire().await.unwrap();
            assert_eq!(sizes(&mut reader).await.unwrap(), (-2048, 0));
            readers.push(reader);
        }
        assert!(store.readers().try_acquire().is_none(), "there are no more");
        let mut writer = connect_options(&dir.path().join("state.db")).connect().await.unwrap();
        assert_eq!(sizes(&mut writer).await.unwrap(), (-2048, 0));
    }

    #[tokio::test]
    async fn a_full_disk_is_told_as_one() {
        let dir = tempfile::tempdir().unwrap();
        let options = connect_options(&dir.path().join("full.db"));
        let mut connection = options.pragma("max_page_count", "4").connect().await.unwrap();
        sqlx::query("CREATE TABLE t (bytes BLOB)").execute(&mut connection).await.unwrap();
        let error = sqlx::query("INSERT INTO t VALUES (zeroblob(1000000))")
            .execute(&mut connection)
            .await
            .map_err(database("accept a task"))
            .unwrap_err();
        assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
        assert!(error.to_string().contains("no space left"), "{error}");
    }

    #[test]
    fn an_index_that_cannot_grow_is_a_full_disk_and_other_failures_of_a_disk_are_not() {
        assert!(is_no_room("4874"));
        for other in ["10", "266", "778", "5386"] {
            assert!(!is_no_room(other), "{other}");
        }
    }
}
