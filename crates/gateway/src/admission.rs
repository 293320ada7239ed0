//! How much of the gateway one workspace may hold at a time.
//!
//! What a flood of calls costs is counted: tasks that have not ended, the bytes of their arguments,
//! and streams that are open. A workspace at its limit is refused more until some of its tasks have
//! ended; the others do not notice. The counts are those of what is there (a [`Claim`] is given
//! back when it is dropped) and are made anew from the store at start, so a restart forgives
//! nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metal9_types::WorkspaceId;

use crate::error::ApiError;
use crate::options::Options;

/// When a client that was refused a task or a stream should come back.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// What one workspace may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) tasks: u64,
    pub(crate) argument_bytes: u64,
    pub(crate) streams: u64,
}

impl Limits {
    pub(crate) fn of(options: &Options) -> Self {
        Self {
            tasks: options.max_tasks_per_workspace,
            argument_bytes: options.max_argument_mib_per_workspace.saturating_mul(1024 * 1024),
            streams: options.max_streams_per_workspace,
        }
    }
}

/// What is held.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Held {
    tasks: u64,
    argument_bytes: u64,
    streams: u64,
}

impl Held {
    fn plus(self, other: Self) -> Self {
        Self {
            tasks: self.tasks.saturating_add(other.tasks),
            argument_bytes: self.argument_bytes.saturating_add(other.argument_bytes),
            streams: self.streams.saturating_add(other.streams),
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            tasks: self.tasks.saturating_sub(other.tasks),
            argument_bytes: self.argument_bytes.saturating_sub(other.argument_bytes),
            streams: self.streams.saturating_sub(other.streams),
        }
    }
}

type Books = Arc<Mutex<HashMap<WorkspaceId, Held>>>;

/// What every workspace holds.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: Limits,
    books: Books,
}

/// A part of what a workspace holds; given back when dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    books: Books,
    workspace: WorkspaceId,
    part: Held,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = books.get_mut(&self.workspace) {
            *held = held.minus(self.part);
            if *held == Held::default() {
                books.remove(&self.workspace);
            }
        }
    }
}

impl Admission {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, books: Books::default() }
    }

    /// Lets in a task with this many bytes of arguments.
    pub(crate) fn task(&self, workspace: WorkspaceId, bytes: u64) -> Result<Claim, ApiError> {
        let part = Held { tasks: 1, argument_bytes: bytes, streams: 0 };
        self.take(workspace, part, |held, limits| {
            let hint = "wait for calls to end, or cancel some with `beta9 task stop`";
            if held.tasks > limits.tasks {
                let most = limits.tasks;
                let what = format!("this workspace has {most} calls that have not ended");
                let limit = "max_tasks_per_workspace";
                return Some(format!("{what}, which is its limit (gateway.{limit})\nhint: {hint}"));
            }
            if held.argument_bytes > limits.argument_bytes {
                let most = limits.argument_bytes >> 20;
                let what = format!(
                    "the arguments of this workspace's calls that have not ended would be more \
                     than {most} MiB"
                );
                let limit = "max_argument_mib_per_workspace";
                let hint = "wait for calls to end, or pass large data by reference to a store";
                return Some(format!("{what}, which is its limit (gateway.{limit})\nhint: {hint}"));
            }
            None
        })
    }

    /// Counts a task that was accepted in an earlier life; it is in already.
    pub(crate) fn known_task(&self, workspace: WorkspaceId, bytes: u64) -> Claim {
        self.add(workspace, Held { tasks: 1, argument_bytes: bytes, streams: 0 })
    }

    /// Lets in a stream.
    pub(crate) fn stream(&self, workspace: WorkspaceId) -> Result<Claim, ApiError> {
        let part = Held { streams: 1, ..Held::default() };
        self.take(workspace, part, |held, limits| {
            let most = limits.streams;
            (held.streams > most).then(|| {
                format!(
                    "this workspace has {most} open streams, which is its limit \
                     (gateway.max_streams_per_workspace)\nhint: close some, or make calls that \
                     nobody waits for (`headless=True`)"
                )
            })
        })
    }

    fn take(
        &self,
        workspace: WorkspaceId,
        part: Held,
        over: impl FnOnce(Held, Limits) -> Option<String>,
    ) -> Result<Claim, ApiError> {
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        let held = books.get(&workspace).copied().unwrap_or_default().plus(part);
        if let Some(text) = over(held, self.limits) {
            return Err(ApiError::Exhausted { text, retry_after: RETRY_AFTER });
        }
        books.insert(workspace, held);
        drop(books);
        Ok(Claim { books: Arc::clone(&self.books), workspace, part })
    }

    fn add(&self, workspace: WorkspaceId, part: Held) -> Claim {
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        let held = books.entry(workspace).or_default();
        *held = held.plus(part);
        drop(books);
        Claim { books: Arc::clone(&self.books), workspace, part }
    }
}

#[cfg(test)]
mod tests {
    use metal9_types::WorkspaceId;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn admission() -> Admission {
        Admission::new(Limits { tasks: 2, argument_bytes: 100, streams: 1 })
    }

    fn workspace(number: u128) -> WorkspaceId {
        WorkspaceId(Uuid::from_u128(number))
    }

    #[test]
    fn a_workspace_at_its_limit_is_refused_and_no_other() {
        let admission = admission();
        let first = admission.task(workspace(1), 10).unwrap();
        let _second = admission.task(workspace(1), 10).unwrap();
        let refused = admission.task(workspace(1), 10).unwrap_err().to_string();
        assert!(refused.contains("2 calls") && refused.contains("hint:"), "{refused}");
        assert!(admission.task(workspace(2), 10).is_ok());
        drop(first);
        assert!(admission.task(workspace(1), 10).is_ok());
    }

    #[test]
    fn bytes_of_arguments_count_too() {
        let admission = admission();
        let refused = admission.task(workspace(1), 101).unwrap_err().to_string();
        assert!(refused.contains("arguments"), "{refused}");
        let held = admission.task(workspace(1), 60).unwrap();
        assert!(admission.task(workspace(1), 60).is_err());
        drop(held);
        assert!(admission.task(workspace(1), 60).is_ok());
    }

    #[test]
    fn what_was_accepted_before_is_counted_and_never_refused() {
        let admission = admission();
        let known: Vec<_> = (0..5).map(|_| admission.known_task(workspace(1), 50)).collect();
        assert!(admission.task(workspace(1), 0).is_err());
        drop(known);
        assert!(admission.task(workspace(1), 0).is_ok());
    }

    proptest! {
        #[test]
        fn when_all_is_given_back_nothing_is_held(
            steps in prop::collection::vec((0u128..3, 0u64..60, any::<bool>(), any::<bool>()), 0..60)
        ) {
            let admission = admission();
            let mut claims = Vec::new();
            for (who, bytes, stream, give_back) in steps {
                let claim = if stream {
                    admission.stream(workspace(who))
                } else {
                    admission.task(workspace(who), bytes)
                };
                claims.extend(claim);
                if give_back && !claims.is_empty() {
                    claims.remove(0);
                }
                let books = admission.books.lock().unwrap();
                let fits = |held: &Held| {
                    held.tasks <= 2 && held.argument_bytes <= 100 && held.streams <= 1
                };
                prop_assert!(books.values().all(fits));
            }
            claims.clear();
            prop_assert!(admission.books.lock().unwrap().is_empty());
        }
    }
}
