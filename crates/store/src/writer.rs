//! The one writer: everything that is queued is committed together, then everybody is answered.
//!
//! A commit waits for the disk, and while it waits the next calls queue up, so the number of calls
//! a disk can take grows with the load. Nothing else writes to the database.
//!
//! Every statement is a trip to the database's own thread and back, which costs more than the
//! statement. What every call waits for therefore carries its transaction with it ([`Frame`]).

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use metal9_tasks::CancellationToken;
use sqlx::{Connection, SqliteConnection};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::directory::DirectoryLock;

/// Calls that may wait for the writer before callers wait for a place in its queue.
const QUEUE: usize = 1024;

/// Calls committed together at most.
const BATCH: usize = 512;

/// How long changes that do not wait for the disk wait for one that does, to share its commit. Most
/// calls are so short that their end comes sooner.
const COMPANY: Duration = Duration::from_millis(5);

/// One change to the database. It may be applied again after a failed commit, so it owns its data
/// and only borrows it. A change that refuses (an error inside `T`) must not have written anything.
pub(crate) type Apply<D, T> =
    for<'c> fn(&'c D, &'c mut SqliteConnection) -> BoxFuture<'c, Result<T, sqlx::Error>>;

/// The same for a change whose SQL comes in four forms, one of which the frame chooses.
pub(crate) type ApplyFramed<D, T> =
    for<'c> fn(&'c D, Frame, &'c mut SqliteConnection) -> BoxFuture<'c, Result<T, sqlx::Error>>;

/// How a change is made.
pub(crate) enum Way<D, T> {
    /// Between a `BEGIN` and a `COMMIT` of the writer's.
    Plain(Apply<D, T>),
    /// Beginning and ending the transaction by itself where the frame says so.
    Framed(ApplyFramed<D, T>),
}

/// Where in its transaction a change stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    /// It must begin the transaction.
    opens: bool,
    /// It must commit the transaction.
    closes: bool,
}

impl Frame {
    /// Whether the change is the last of its transaction, and so has committed it.
    pub(crate) fn closes(self) -> bool {
        self.closes
    }
}

/// The four forms of a change's SQL; made by [`framed`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct FramedSql {
    pub(crate) alone: &'static str,
    pub(crate) first: &'static str,
    pub(crate) middle: &'static str,
    pub(crate) last: &'static str,
}

impl FramedSql {
    pub(crate) fn in_frame(&self, frame: Frame) -> &'static str {
        match (frame.opens, frame.closes) {
            (true, true) => self.alone,
            (true, false) => self.first,
            (false, false) => self.middle,
            (false, true) => self.last,
        }
    }
}

/// SQL statements in their four forms.
macro_rules! framed {
    ($sql:expr) => {
        $crate::writer::FramedSql {
            alone: concat!("BEGIN IMMEDIATE; ", $sql, "; COMMIT"),
            first: concat!("BEGIN IMMEDIATE; ", $sql),
            middle: $sql,
            last: concat!($sql, "; COMMIT"),
        }
    };
}
pub(crate) use framed;

/// Whether the answer to a change waits for the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sync {
    /// The change survives a power cut once it is answered.
    Disk,
    /// The change survives the end of this process, and a power cut as soon as any later change
    /// that waits for the disk is answered. It is answered a little later, since it waits for one
    /// to share its commit. For changes whose loss can be found out again.
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
        way: Way<D, T>,
    ) -> Option<Result<T, sqlx::Error>>
    where
        D: Send + std::marker::Sync + 'static,
        T: Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let change = Queued { sync, data, way, outcome: None, reply };
        self.queue.send(Box::new(change)).await.ok()?;
        answer.await.ok()
    }
}

trait Change: Send {
    fn sync(&self) -> Sync;
    fn is_framed(&self) -> bool;
    fn apply<'c>(
        &'c mut self,
        frame: Frame,
        connection: &'c mut SqliteConnection,
    ) -> BoxFuture<'c, Result<(), sqlx::Error>>;
    fn fail(&mut self, error: sqlx::Error);
    fn answer(self: Box<Self>);
}

struct Queued<D, T> {
    sync: Sync,
    data: D,
    way: Way<D, T>,
    outcome: Option<Result<T, sqlx::Error>>,
    reply: oneshot::Sender<Result<T, sqlx::Error>>,
}

impl<D: Send + std::marker::Sync, T: Send> Change for Queued<D, T> {
    fn sync(&self) -> Sync {
        self.sync
    }

    fn is_framed(&self) -> bool {
        matches!(self.way, Way::Framed(_))
    }

    fn apply<'c>(
        &'c mut self,
        frame: Frame,
        connection: &'c mut SqliteConnection,
    ) -> BoxFuture<'c, Result<(), sqlx::Error>> {
        Box::pin(async move {
            let applied = match self.way {
                Way::Plain(apply) => apply(&self.data, connection),
                Way::Framed(apply) => apply(&self.data, frame, connection),
            };
            self.outcome = Some(Ok(applied.await?));
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
    let mut batch: Vec<Box<dyn Change>> = Vec::with_capacity(BATCH);
    let mut alone_until = None;
    let mut open = true;
    while open {
        let room = BATCH - batch.len();
        tokio::select! {
            biased;
            () = closing.cancelled(), if !waiting.is_closed() => {
                waiting.close();
                continue;
            }
            taken = waiting.recv_many(&mut batch, room) => open = taken > 0,
            () = until(alone_until) => {}
        }
        let hurry = batch.len() == BATCH || batch.iter().any(|change| change.sync() == Sync::Disk);
        if open && !hurry && !batch.is_empty() {
            let until = *alone_until.get_or_insert_with(|| Instant::now() + COMPANY);
            if Instant::now() < until {
                continue;
            }
        }
        alone_until = None;
        if !batch.is_empty() {
            database.commit_or_split(&mut batch).await;
            metal9_faults::point("committed").await;
            batch.drain(..).for_each(Change::answer);
        }
        database.expect_disk().await;
    }
    if let Err(error) = database.connection.close().await {
        tracing::warn!(%error, "the state database did not close cleanly");
    }
    drop(lock);
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => pending().await,
    }
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

    /// Does before the next commit what would else be a part of it.
    async fn expect_disk(&mut self) {
        // If it fails now, it is tried again before the commit, which then fails by itself.
        let _ = self.set_sync(Sync::Disk).await;
    }

    async fn commit(&mut self, batch: &mut [Box<dyn Change>]) -> Result<(), sqlx::Error> {
        let to_disk = batch.iter().any(|change| change.sync() == Sync::Disk);
        self.set_sync(if to_disk { Sync::Disk } else { Sync::Later }).await?;
        let connection = &mut self.connection;
        let opened = batch.first().is_some_and(|change| change.is_framed());
        let closed = batch.last().is_some_and(|change| change.is_framed());
        let last = batch.len().saturating_sub(1);
        let applied = async {
            if !opened {
                sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
            }
            for (at, change) in batch.iter_mut().enumerate() {
                if closed && at == last {
                    metal9_faults::point("commit").await;
                }
                let frame = Frame { opens: opened && at == 0, closes: closed && at == last };
                change.apply(frame, connection).await?;
            }
            if !closed {
                metal9_faults::point("commit").await;
                sqlx::query("COMMIT").execute(&mut *connection).await?;
            }
            Ok(())
        }
        .await;
        match applied {
            Ok(()) => {
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
