//! What clients wait for: one entry per task that has not ended.
//!
//! A stream attached to a task watches its [`Live`] entry: how much output there is, and how it
//! ended. The output itself is in the task's log, so that a slow reader costs no memory.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use metal9_store::{Appended, LogStream, TaskLogs};
use metal9_types::{AttemptId, Failure, TaskId, TaskStatus, WorkspaceId};
use tokio::sync::watch;

use crate::admission::Claim;

/// How a task ended, as its streams are told.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its last state.
    pub(crate) status: TaskStatus,
    /// Why it did not return; nothing if it did.
    pub(crate) failure: Option<Failure>,
    /// The pickled result.
    pub(crate) result: Option<Bytes>,
}

/// What a stream sees of a task.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// The state last told.
    pub(crate) status: TaskStatus,
    /// Bytes of output so far.
    pub(crate) log_end: u64,
    /// Set once the end is durable.
    pub(crate) ended: Option<Arc<Ended>>,
}

/// A task that has not ended, or whose end is still being told.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) task: TaskId,
    pub(crate) workspace: WorkspaceId,
    pub(crate) headless: bool,
    snapshot: watch::Sender<Snapshot>,
    attached: AtomicUsize,
    /// The attempt whose output counts; 0 for none yet.
    attempt: AtomicU64,
    /// Set once no more output is taken.
    over: Arc<AtomicBool>,
}

impl Live {
    /// Watches the task.
    pub(crate) fn watch(&self) -> watch::Receiver<Snapshot> {
        self.snapshot.subscribe()
    }

    /// Counts a stream in.
    pub(crate) fn attach(&self) {
        self.attached.fetch_add(1, Ordering::SeqCst);
    }

    /// Counts a stream out; `true` if it was the last one of a task that has not ended.
    pub(crate) fn detach(&self) -> bool {
        let before = self.attached.fetch_sub(1, Ordering::SeqCst);
        before == 1 && self.snapshot.borrow().ended.is_none()
    }

    /// `true` if no stream is attached.
    pub(crate) fn is_alone(&self) -> bool {
        self.attached.load(Ordering::SeqCst) == 0
    }

    /// From now on the output of this attempt counts, and no other's.
    pub(crate) fn set_attempt(&self, attempt: AttemptId) {
        self.attempt.store(attempt.0, Ordering::SeqCst);
    }

    fn is_current(&self, attempt: AttemptId) -> bool {
        self.attempt.load(Ordering::SeqCst) == attempt.0
    }
}

/// How long after its end a task's job may still sign: a job that is cancelled or takes too long
/// posts its callback when its task has ended already.
const FAREWELL: Duration = Duration::from_secs(10);

/// A task's entry, and what its workspace holds for it.
#[derive(Debug)]
struct Entry {
    live: Arc<Live>,
    /// Given back when the entry goes.
    _claim: Claim,
}

/// All tasks that have not ended.
#[derive(Debug)]
pub(crate) struct Hub {
    live: Mutex<HashMap<TaskId, Entry>>,
    /// Tasks that ended a moment ago, oldest first.
    ended: Mutex<VecDeque<(Instant, TaskId)>>,
    logs: TaskLogs,
}

impl Hub {
    pub(crate) fn new(logs: TaskLogs) -> Self {
        Self { live: Mutex::default(), ended: Mutex::default(), logs }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<TaskId, Entry>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a task.
    pub(crate) fn open(
        &self,
        claim: Claim,
        task: TaskId,
        workspace: WorkspaceId,
        headless: bool,
        status: TaskStatus,
        log_end: u64,
    ) -> Arc<Live> {
        let snapshot = watch::Sender::new(Snapshot { status, log_end, ended: None });
        let live = Arc::new(Live {
            task,
            workspace,
            headless,
            snapshot,
            attached: AtomicUsize::new(0),
            attempt: AtomicU64::new(0),
            over: Arc::default(),
        });
        self.lock().insert(task, Entry { live: Arc::clone(&live), _claim: claim });
        live
    }

    /// A task's entry; nothing if it has ended.
    pub(crate) fn get(&self, task: TaskId) -> Option<Arc<Live>> {
        self.lock().get(&task).map(|entry| Arc::clone(&entry.live))
    }

    /// `true` until a moment after a task's end.
    pub(crate) fn ended_just_now(&self, task: TaskId) -> bool {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.iter().rev().take_while(|(at, _)| at.elapsed() < FAREWELL).any(|(_, id)| *id == task)
    }

    fn remember_end(&self, task: TaskId) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        while ended.front().is_some_and(|(at, _)| at.elapsed() >= FAREWELL) {
            ended.pop_front();
        }
        ended.push_back((Instant::now(), task));
    }

    /// Removes a task that was never handed to the scheduler.
    pub(crate) fn forget(&self, task: TaskId) {
        self.lock().remove(&task);
    }

    /// How many tasks have not ended.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Keeps what a job wrote and wakes the task's streams.
    ///
    /// Output of an attempt that another has replaced, or of a task that has ended, is dropped.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub(crate) async fn output(
        &self,
        task: TaskId,
        attempt: AttemptId,
        sequence: u64,
        stream: LogStream,
        text: &str,
    ) -> io::Result<()> {
        let Some(live) = self.get(task) else { return Ok(()) };
        if !live.is_current(attempt) {
            return Ok(());
        }
        let over = Arc::clone(&live.over);
        let appended = self.logs.append_unless(over, task, attempt, sequence, stream, text).await?;
        let appended = match appended {
            None => return Ok(()),
            // Whoever wrote it may have been cut off before it could tell.
            Some(Appended::Duplicate) => {
                Appended::Written { end_offset: self.logs.len(task).await? }
            }
            Some(appended) => appended,
        };
        Self::tell_log(&live, &appended);
        Ok(())
    }

    /// Adds a line of the platform's own to a task's output.
    pub(crate) async fn say(&self, task: TaskId, text: &str) {
        let Some(live) = self.get(task) else { return };
        match self.logs.append(task, AttemptId(0), 0, LogStream::System, text).await {
            Ok(appended) => Self::tell_log(&live, &appended),
            Err(error) => tracing::warn!(%task, %error, "cannot write the task's log"),
        }
    }

    fn tell_log(live: &Live, appended: &Appended) {
        let end = match appended {
            Appended::Written { end_offset } | Appended::Truncated { end_offset } => *end_offset,
            Appended::Duplicate => return,
        };
        live.snapshot.send_modify(|snapshot| snapshot.log_end = snapshot.log_end.max(end));
    }

    /// Tells a state that is not the last one.
    pub(crate) fn tell_status(&self, task: TaskId, status: TaskStatus) {
        if let Some(live) = self.get(task) {
            live.snapshot.send_modify(|snapshot| snapshot.status = status);
        }
    }

    /// Tells a task's end, which must be durable, and forgets the task.
    pub(crate) async fn end(&self, task: TaskId, ended: Ended) {
        // Remembered first, so that a job that signs meanwhile is known by one or the other.
        self.remember_end(task);
        let Some(Entry { live, _claim }) = self.lock().remove(&task) else { return };
        // What comes later is not part of the task's output; what is being written is, and is told.
        live.over.store(true, Ordering::SeqCst);
        if !self.logs.is_idle(task)
            && let Ok(end_offset) = self.logs.len(task).await
        {
            Self::tell_log(&live, &Appended::Written { end_offset });
        }
        live.snapshot.send_modify(|snapshot| {
            snapshot.status = ended.status;
            snapshot.ended = Some(Arc::new(ended));
        });
        self.logs.close(task);
    }
}
