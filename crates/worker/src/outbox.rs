//! What the gateway has not acknowledged yet: outputs and ends of attempts.
//!
//! Each attempt has its own queue: numbered outputs, then its end, then word that its container is
//! gone. Everything is kept until acknowledged and sent again after a reconnect. Attempts take
//! turns, so that one that writes much does not hold up the others.

mod queue;
mod spill;

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use metal9_types::AttemptId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::outbox::queue::Queue;
use crate::report::{Ended, Report, Stream};

/// Unacknowledged text of one attempt that is kept in memory, in bytes; more goes to a file.
const MEMORY_BYTES: usize = 1024 * 1024;

/// Unacknowledged text of one attempt at which its job has to wait, in bytes.
const BUDGET_BYTES: usize = 8 * 1024 * 1024;

/// The largest result that travels in a report; a larger one is pushed before.
const INLINE_RESULT_BYTES: usize = 1024 * 1024;

/// The queues of all attempts that have something unacknowledged or still run.
#[derive(Debug)]
pub(crate) struct Outbox {
    directory: PathBuf,
    queues: HashMap<AttemptId, Queue>,
    /// Attempts with something to send, in turn. Each at most once.
    turns: VecDeque<AttemptId>,
}

impl Outbox {
    /// An empty outbox that spills to files in `directory`.
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory, queues: HashMap::new(), turns: VecDeque::new() }
    }

    /// Makes a queue for an attempt and returns the budget its outputs take room in.
    pub(crate) fn open(&mut self, attempt: AttemptId) -> Arc<Semaphore> {
        let budget = Arc::new(Semaphore::new(BUDGET_BYTES));
        self.queues.insert(attempt, Queue::new(self.directory.join(attempt.to_string())));
        budget
    }

    pub(crate) fn contains(&self, attempt: AttemptId) -> bool {
        self.queues.contains_key(&attempt)
    }

    /// `true` if everything is acknowledged.
    pub(crate) fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// Numbers and keeps an output. One of an attempt that is forgotten is dropped.
    pub(crate) fn output(
        &mut self,
        attempt: AttemptId,
        stream: Stream,
        text: String,
        room: Option<OwnedSemaphorePermit>,
    ) {
        if let Some(queue) = self.queues.get_mut(&attempt) {
            queue.push(stream, text, room);
            self.turn(attempt);
        }
    }

    /// The end of this attempt says also that its call had begun.
    pub(crate) fn leave_start_to_end(&mut self, attempt: AttemptId) {
        if let Some(queue) = self.queues.get_mut(&attempt) {
            queue.leave_start_to_end();
        }
    }

    /// Keeps the end of an attempt, which follows all its outputs.
    pub(crate) fn finish(&mut self, attempt: AttemptId, ended: Ended) {
        if let Some(queue) = self.queues.get_mut(&attempt) {
            queue.finish(ended);
            self.turn(attempt);
        }
    }

    /// Sends `report` after everything of the attempt; returns it if the attempt has nothing left.
    pub(crate) fn follow(&mut self, attempt: AttemptId, report: Report) -> Option<Report> {
        let Some(queue) = self.queues.get_mut(&attempt) else { return Some(report) };
        queue.follow(report);
        self.turn(attempt);
        None
    }

    /// No end of this attempt is wanted: it is forgotten once its outputs are acknowledged.
    pub(crate) fn close(&mut self, attempt: AttemptId) {
        if let Some(queue) = self.queues.get_mut(&attempt) {
            queue.close();
            self.remove_if_done(attempt);
        }
    }

    /// The gateway has all outputs up to this number.
    pub(crate) fn acknowledge(&mut self, attempt: AttemptId, sequence: u64) {
        if let Some(queue) = self.queues.get_mut(&attempt) {
            queue.acknowledge(sequence);
            self.remove_if_done(attempt);
        }
    }

    /// Drops an attempt and returns the reports that were to follow it.
    pub(crate) fn forget(&mut self, attempt: AttemptId) -> Vec<Report> {
        self.queues.remove(&attempt).map(Queue::into_followers).unwrap_or_default()
    }

    /// The result of an attempt has arrived at the gateway, so its end can be sent.
    pub(crate) fn pushed(&mut self, attempt: AttemptId) {
        if let Some(queue) = self.queues.get_mut(&attempt) {
            queue.pushed();
            self.turn(attempt);
        }
    }

    /// The result of an attempt has not arrived at the gateway: it is to be pushed again.
    pub(crate) fn push_again(&mut self, attempt: AttemptId) {
        if let Some(queue) = self.queues.get_mut(&attempt) {
            queue.push_again();
            self.turn(attempt);
        }
    }

    /// `true` if [`Outbox::next`] has something.
    pub(crate) fn has_next(&self) -> bool {
        !self.turns.is_empty()
    }

    /// The next report to send.
    pub(crate) fn next(&mut self) -> Option<Next> {
        while let Some(attempt) = self.turns.pop_front() {
            let Some(queue) = self.queues.get_mut(&attempt) else { continue };
            let next = queue.next(attempt);
            if queue.has_next() {
                self.turns.push_back(attempt);
            }
            self.remove_if_done(attempt);
            if next.is_some() {
                return next;
            }
        }
        None
    }

    /// Starts over: everything that is not acknowledged is to be sent again.
    pub(crate) fn rewind(&mut self) {
        self.turns.clear();
        for (attempt, queue) in &mut self.queues {
            queue.rewind();
            if queue.has_next() {
                self.turns.push_back(*attempt);
            }
        }
        let done: Vec<AttemptId> =
            self.queues.iter().filter(|(_, queue)| queue.is_done()).map(|(id, _)| *id).collect();
        done.iter().for_each(|attempt| drop(self.queues.remove(attempt)));
    }

    fn turn(&mut self, attempt: AttemptId) {
        let waits = self.queues.get(&attempt).is_some_and(Queue::has_next);
        if waits && !self.turns.contains(&attempt) {
            self.turns.push_back(attempt);
        }
    }

    fn remove_if_done(&mut self, attempt: AttemptId) {
        if self.queues.get(&attempt).is_some_and(Queue::is_done) {
            self.queues.remove(&attempt);
        }
    }
}

/// What is to be done next.
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    /// Send this.
    Send(Report),
    /// Push this result, then call [`Outbox::pushed`].
    Push { attempt: AttemptId, result: bytes::Bytes },
}

#[cfg(test)]
mod tests;
