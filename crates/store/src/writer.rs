//! The one writer: everything that is queued is committed together, then everybody is answered.
//!
//! A commit waits for the disk, and while it waits the next calls queue up, so the number of calls
//! a disk can take grows with the load. Nothing else writes to the database.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::BoxFuture;
use metal9_tasks::CancellationToken;
use sqlx::{Connection, SqliteConnection};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::directory::DirectoryLock;

/// Calls that may wait for the writer before callers wait for a place in its queue.
const QUEUE: usize = 1024;

/// Calls committed together at most.
const BATCH: usize = 512;

/// One change to the database. It may be applied again after a failed commit, so it owns its data
/// and only borrows it. A change that refuses (an error inside `T`) must not have written anything.
pub(crate) type Apply<D, T> =
    for<'c> fn(&'c D, &'c mut SqliteConnection) -> BoxFuture<'c, Result<T, sqlx::Error>>;

/// Whether the answer to a change waits for the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sync {
    /// The change survives a power cut once it is answered.
    Disk,
    /// The change survives the end of this process, and a power cut as soon as any later change
    /// that waits for the disk is answered. Saves a wait where what is lost can be found out again.
    Later,
}

/// The way to the writer.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: mpsc::Sender<Box<dyn Change>>,
    commits: Arc<AtomicU64>,
}

impl Writer {
    /// Starts the writer. It ends, after all that is queued, when `closing` is cancelled or the
    /// `Writer` is dropped, and lets go of the directory then.
    pub(crate) fn start(
        connection: SqliteConnection,
        lock: DirectoryLock,
        closing: CancellationToken,
    ) -> (Self, JoinHandle<()>) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let commits = Arc::new(AtomicU64::new(0));
        let database = Database { connection, commits: Arc::clone(&commits), sync: Sync::Disk };
        let handle = metal9_tasks::spawn_infallible(
            "store writer",
            write_all(database, waiting, closing, lock),
        );
        (Self { queue, commits }, handle)
    }

    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Applies a change; the answer comes when it is committed, and on disk if `sync` says so.
    /// Nothing if the writer has ended.
    pub(crate) async fn apply<D, T>(
        &self,
        sync: Sync,
        data: D,
        apply: Apply<D, T>,
    ) -> Option<Result<T, sqlx::Error>>
    where
        D: Send + std::marker::Sync + 'static,
        T: Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let change = Queued { sync, data, apply, outcome: None, reply };
        self.queue.send(Box::new(change)).await.ok()?;
        answer.await.ok()
    }
}

trait Change: Send {
    fn sync(&self) -> Sync;
    fn apply<'c>(
        &'c mut self,
        connection: &'c mut SqliteConnection,
    ) -> BoxFuture<'c, Result<(), sqlx::Error>>;
    fn fail(&mut self, error: sqlx::Error);
    fn answer(self: Box<Self>);
}

struct Queued<D, T> {
    sync: Sync,
    data: D,
    apply: Apply<D, T>,
    outcome: Option<Result<T, sqlx::Error>>,
    reply: oneshot::Sender<Result<T, sqlx::Error>>,
}

impl<D: Send + std::marker::Sync, T: Send> Change for Queued<D, T> {
    fn sync(&self) -> Sync {
        self.sync
    }

    fn apply<'c>(
        &'c mut self,
        connection: &'c mut SqliteConnection,
    ) -> BoxFuture<'c, Result<(), sqlx::Error>> {
        Box::pin(async move {
            self.outcome = Some(Ok((self.apply)(&self.data, connection).await?));
            Ok(())
        })
    }

    fn fail(&mut self, error: sqlx::Error) {
        self.outcome = Some(Err(error));
    }

    fn answer(self: Box<Self>) {
        // A caller that has gone away wants no answer; its change stays.
        if let Some(outcome) = self.outcome {
            let _ = self.reply.send(outcome);
        }
    }
}

struct Database {
    connection: SqliteConnection,
    commits: Arc<AtomicU64>,
    /// What the connection does now; it opens with `Disk`.
    sync: Sync,
}

async fn write_all(
    mut database: Database,
    mut waiting: mpsc::Receiver<Box<dyn Change>>,
    closing: CancellationToken,
    lock: DirectoryLock,
) {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        tokio::select! {
            biased;
            () = closing.cancelled(), if !waiting.is_closed() => waiting.close(),
            taken = waiting.recv_many(&mut batch, BATCH) => {
                if taken == 0 {
                    break;
                }
                database.commit_or_split(&mut batch).await;
                metal9_faults::point("committed").await;
                batch.drain(..).for_each(Change::answer);
            }
        }
    }
    if let Err(error) = database.connection.close().await {
        tracing::warn!(%error, "the state database did not close cleanly");
    }
    drop(lock);
}

impl Database {
    /// Commits the batch; if that fails, commits each change by itself, so that one that cannot be
    /// applied does not fail its neighbours.
    async fn commit_or_split(&mut self, batch: &mut [Box<dyn Change>]) {
        let Err(error) = self.commit(batch).await else { return };
        if let [only] = batch {
            only.fail(error);
            return;
        }
        tracing::debug!(%error, changes = batch.len(), "committing each change by itself");
        for change in batch {
            if let Err(error) = self.commit(std::slice::from_mut(change)).await {
                change.fail(error);
            }
        }
    }

    /// In WAL mode, SQLite waits for the disk at every commit with FULL, and only when it moves the
    /// log into the database with NORMAL.
    async fn set_sync(&mut self, sync: Sync) -> Result<(), sqlx::Error> {
        if self.sync != sync {
            let pragma = match sync {
                Sync::Disk => "PRAGMA synchronous = FULL",
                Sync::Later => "PRAGMA synchronous = NORMAL",
            };
            sqlx::query(pragma).execute(&mut self.connection).await?;
            self.sync = sync;
        }
        Ok(())
    }

    async fn commit(&mut self, batch: &mut [Box<dyn Change>]) -> Result<(), sqlx::Error> {
        let to_disk = batch.iter().any(|change| change.sync() == Sync::Disk);
        self.set_sync(if to_disk { Sync::Disk } else { Sync::Later }).await?;
        let connection = &mut self.connection;
        let applied = async {
            sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
            for change in batch {
                change.apply(connection).await?;
            }
            metal9_faults::point("commit").await;
            sqlx::query("COMMIT").execute(&mut *connection).await
        }
        .await;
        match applied {
            Ok(_) => {
                self.commits.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(error) => {
                // Where there is nothing to roll back (SQLite does it by itself after some errors),
                // this fails, and that is fine.
                let _ = sqlx::query("ROLLBACK").execute(connection).await;
                Err(error)
            }
        }
    }
}
