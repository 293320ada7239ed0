//! Task logs: one append-only file of records per task.
//!
//! What is appended is in the page cache when the call returns, so it survives the end of the
//! process but not a power cut; a record that was half written is cut off when the file is next
//! touched. No file is kept open: only a small state per task is, and that can be derived again
//! from the file.

mod file;
mod record;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use metal9_types::{AttemptId, TaskId};

use self::file::TaskLog;
use crate::UnixMicros;

/// Bytes of job output kept per task.
pub const LOG_LIMIT_BYTES: u64 = 256 << 20;

/// Tasks whose state is kept in memory at most.
const REMEMBERED: usize = 4096;

/// Bytes of a block, as the file system counts them.
const BLOCK: u64 = 512;

/// Where a piece of text came from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LogStream {
    /// The job's standard output.
    Stdout,
    /// The job's standard error.
    Stderr,
    /// metal9 itself.
    System,
}

/// How [`TaskLogs::append`] went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Appended {
    /// The text is in the file.
    Written {
        /// Bytes of text the task has now.
        end_offset: u64,
    },
    /// The text was there already; nothing was written.
    Duplicate,
    /// The task's log is at its limit; the text is not kept.
    Truncated {
        /// Bytes of text the task has now.
        end_offset: u64,
    },
}

/// A piece of output, as it was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogPiece {
    /// When.
    pub at: UnixMicros,
    /// Where.
    pub stream: LogStream,
    /// What.
    pub text: String,
    /// Bytes of text that the task's log has up to here.
    pub end_offset: u64,
}

/// The logs of all tasks. Cloning it is cheap and gives the same logs.
#[derive(Clone, Debug)]
pub struct TaskLogs {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    limit: u64,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    uses: u64,
    logs: HashMap<TaskId, Entry>,
}

#[derive(Debug)]
struct Entry {
    used: u64,
    log: Arc<Mutex<TaskLog>>,
}

impl TaskLogs {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self::with_limit(dir, LOG_LIMIT_BYTES)
    }

    fn with_limit(dir: PathBuf, limit: u64) -> Self {
        Self { inner: Arc::new(Inner { dir, limit, known: Mutex::default() }) }
    }

    /// Adds text to a task's log. A `sequence` that is not above the last one of the same attempt
    /// is a duplicate; 0 is for the gateway's own lines, which never are.
    ///
    /// # Errors
    /// When the file cannot be written, or the text is longer than 16 MiB.
    pub async fn append(
        &self,
        task: TaskId,
        attempt: AttemptId,
        sequence: u64,
        stream: LogStream,
        text: &str,
    ) -> io::Result<Appended> {
        let record = record::encode(attempt, sequence, stream.into(), text)?;
        let limit = self.inner.limit;
        self.with(task, move |log| log.append(attempt, sequence, stream, &record, limit)).await
    }

    /// The same unless `over` is set when it is the text's turn: nothing is written then.
    ///
    /// # Errors
    /// As for [`TaskLogs::append`].
    pub async fn append_unless(
        &self,
        over: Arc<AtomicBool>,
        task: TaskId,
        attempt: AttemptId,
        sequence: u64,
        stream: LogStream,
        text: &str,
    ) -> io::Result<Option<Appended>> {
        let record = record::encode(attempt, sequence, stream.into(), text)?;
        let limit = self.inner.limit;
        self.with(task, move |log| {
            let appended = !over.load(Ordering::SeqCst);
            appended.then(|| log.append(attempt, sequence, stream, &record, limit)).transpose()
        })
        .await
    }

    /// Text of a task's log from `text_offset` on: at most `max_bytes` (but at least one
    /// character), ending with a whole character; empty at the end of the log.
    ///
    /// # Errors
    /// When the file cannot be read, or the offset is inside a character.
    pub async fn read(
        &self,
        task: TaskId,
        text_offset: u64,
        max_bytes: usize,
    ) -> io::Result<String> {
        let reading = self.with(task, move |log| log.prepare_read(text_offset)).await?;
        let Some(reading) = reading else { return Ok(String::new()) };
        blocking(move || reading.read(max_bytes)).await
    }

    /// The same as pieces that say when and where each was written: at least one, and no more
    /// after `max_bytes`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn pieces(
        &self,
        task: TaskId,
        text_offset: u64,
        max_bytes: usize,
    ) -> io::Result<Vec<LogPiece>> {
        let reading = self.with(task, move |log| log.prepare_read(text_offset)).await?;
        let Some(reading) = reading else { return Ok(Vec::new()) };
        blocking(move || reading.pieces(max_bytes)).await
    }

    /// Bytes of text a task's log has.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn len(&self, task: TaskId) -> io::Result<u64> {
        self.with(task, TaskLog::text_len).await
    }

    /// The last sequence number of an attempt; 0 if it has written nothing.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn last_sequence(&self, task: TaskId, attempt: AttemptId) -> io::Result<u64> {
        self.with(task, move |log| log.last_sequence(attempt)).await
    }

    /// `true` if nobody reads or writes a task's log at this moment.
    #[must_use]
    pub fn is_idle(&self, task: TaskId) -> bool {
        self.known().logs.get(&task).is_none_or(Entry::is_idle)
    }

    /// Frees the memory a task's log takes. The log can still be used, only more slowly at first.
    pub fn close(&self, task: TaskId) {
        let mut known = self.known();
        let idle = known.logs.get(&task).is_some_and(Entry::is_idle);
        if idle {
            known.logs.remove(&task);
        }
    }

    /// Removes the logs of tasks; those that have none are no error. Returns the bytes they took on
    /// disk.
    pub(crate) async fn remove(&self, tasks: Vec<TaskId>) -> io::Result<u64> {
        for task in &tasks {
            self.close(*task);
        }
        let dir = self.inner.dir.clone();
        blocking(move || {
            let mut bytes = 0;
            for task in &tasks {
                let path = path(&dir, *task);
                let size = fs::metadata(&path).map_or(0, |facts| facts.blocks() * BLOCK);
                match fs::remove_file(&path) {
                    Ok(()) => bytes += size,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(bytes)
        })
        .await
    }

    /// Bytes all logs take on disk.
    pub(crate) async fn disk_bytes(&self) -> io::Result<u64> {
        let dir = self.inner.dir.clone();
        blocking(move || {
            let mut all = 0;
            each(&dir, |_, bytes| all += bytes)?;
            Ok(all)
        })
        .await
    }

    /// Bytes that each log takes on disk.
    pub(crate) async fn disk_bytes_each(&self) -> io::Result<Vec<(TaskId, u64)>> {
        let dir = self.inner.dir.clone();
        blocking(move || {
            let mut logs = Vec::new();
            each(&dir, |name, bytes| {
                let task = name.to_str().and_then(|name| name.strip_suffix(".log"));
                logs.extend(task.and_then(|task| Some((task.parse().ok()?, bytes))));
            })?;
            Ok(logs)
        })
        .await
    }

    async fn with<T: Send + 'static>(
        &self,
        task: TaskId,
        work: impl FnOnce(&mut TaskLog) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let log = self.log(task);
        blocking(move || work(&mut log.lock().unwrap_or_else(PoisonError::into_inner))).await
    }

    fn log(&self, task: TaskId) -> Arc<Mutex<TaskLog>> {
        let mut known = self.known();
        known.uses += 1;
        let used = known.uses;
        if known.logs.len() >= REMEMBERED && !known.logs.contains_key(&task) {
            known.forget_oldest();
        }
        let entry = known.logs.entry(task).or_insert_with(|| {
            let log = TaskLog::new(path(&self.inner.dir, task));
            Entry { used, log: Arc::new(Mutex::new(log)) }
        });
        entry.used = used;
        Arc::clone(&entry.log)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.inner.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// Clones are made only under the lock of [`Known`], so an idle entry stays idle there. One in
    /// use must stay: a second state of the same file would not see what the first one writes.
    fn is_idle(&self) -> bool {
        Arc::strong_count(&self.log) == 1
    }
}

impl Known {
    /// Forgets an eighth of the entries at a time, so that looking for them costs little per task.
    fn forget_oldest(&mut self) {
        let mut uses: Vec<u64> =
            self.logs.values().filter(|entry| entry.is_idle()).map(|entry| entry.used).collect();
        let Some(last) = uses.len().checked_sub(1) else { return };
        let (_, &mut newest_forgotten, _) = uses.select_nth_unstable(last.min(REMEMBERED / 8));
        self.logs.retain(|_, entry| !entry.is_idle() || entry.used > newest_forgotten);
    }
}

/// Looks at each log's name and the bytes it takes on disk.
fn each(dir: &std::path::Path, mut look: impl FnMut(&std::ffi::OsStr, u64)) -> io::Result<()> {
    for shelf in fs::read_dir(dir)? {
        let shelf = shelf?;
        if shelf.file_type()?.is_dir() {
            for log in fs::read_dir(shelf.path())? {
                let log = log?;
                // One that is removed at this moment takes nothing.
                let bytes = log.metadata().map_or(0, |facts| facts.blocks() * BLOCK);
                look(&log.file_name(), bytes);
            }
        }
    }
    Ok(())
}

fn path(dir: &std::path::Path, task: TaskId) -> PathBuf {
    let name = task.to_string();
    let (_, shelf) = name.split_at(name.len() - 2);
    dir.join(shelf).join(format!("{name}.log"))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests;
