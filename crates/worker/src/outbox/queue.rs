//! The queue of one attempt.

use std::collections::VecDeque;
use std::path::PathBuf;

use metal9_types::AttemptId;
use tokio::sync::OwnedSemaphorePermit;

use crate::outbox::spill::{Place, Spill};
use crate::outbox::{INLINE_RESULT_BYTES, MEMORY_BYTES, Next};
use crate::output::cost;
use crate::report::{Ended, Report, Stream};

/// Outputs that have not been sent grow up to this many bytes rather than becoming more.
const MERGE_BYTES: usize = 64 * 1024;

#[derive(Debug)]
enum Body {
    Memory(String),
    File(Place),
}

#[derive(Debug)]
struct Entry {
    sequence: u64,
    stream: Stream,
    body: Body,
    /// Given back when the entry is acknowledged.
    room: Option<OwnedSemaphorePermit>,
}

/// Where the end of the attempt is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Its result must be pushed first.
    ToPush,
    Pushing,
    ToSend,
    Sent,
}

/// Outputs, then the end, then what follows.
#[derive(Debug)]
pub(crate) struct Queue {
    entries: VecDeque<Entry>,
    /// The next entry to send.
    cursor: usize,
    last_sequence: u64,
    /// The highest number ever sent: entries up to it keep their text.
    highest_sent: u64,
    /// Bytes, by what each entry costs.
    in_memory: usize,
    /// Entries.
    in_file: usize,
    spill: Spill,
    end: Option<(Ended, Step)>,
    /// The end also says that the call had begun.
    started_unsaid: bool,
    followers: Vec<Report>,
    closed: bool,
}

impl Queue {
    pub(crate) fn new(spill: PathBuf) -> Self {
        Self {
            entries: VecDeque::new(),
            cursor: 0,
            last_sequence: 0,
            highest_sent: 0,
            in_memory: 0,
            in_file: 0,
            spill: Spill::new(spill),
            end: None,
            started_unsaid: false,
            followers: Vec::new(),
            closed: false,
        }
    }

    pub(crate) fn push(
        &mut self,
        stream: Stream,
        text: String,
        room: Option<OwnedSemaphorePermit>,
    ) {
        let Some(room) = self.merge(stream, &text, room) else { return };
        let size = cost(&text) as usize;
        let spilled =
            if self.in_memory + size > MEMORY_BYTES { self.spill.write(&text) } else { None };
        let body = match spilled {
            Some(place) => {
                self.in_file += 1;
                Body::File(place)
            }
            // A full disk is no reason to lose text: the budget bounds what is in memory too.
            None => {
                self.in_memory += size;
                Body::Memory(text)
            }
        };
        self.last_sequence += 1;
        self.entries.push_back(Entry { sequence: self.last_sequence, stream, body, room });
    }

    /// Appends to the last entry if that has not been sent; gives the permit back if it cannot.
    #[expect(clippy::option_option, reason = "the permit itself is optional")]
    fn merge(
        &mut self,
        stream: Stream,
        text: &str,
        room: Option<OwnedSemaphorePermit>,
    ) -> Option<Option<OwnedSemaphorePermit>> {
        let unsent =
            |entry: &&mut Entry| entry.stream == stream && entry.sequence > self.highest_sent;
        let Some(entry) = self.entries.back_mut().filter(unsent) else { return Some(room) };
        let merged = match &mut entry.body {
            Body::Memory(tail) => {
                let fits = tail.len() + text.len() <= MERGE_BYTES
                    && self.in_memory + text.len() <= MEMORY_BYTES;
                if fits {
                    tail.push_str(text);
                    self.in_memory += text.len();
                }
                fits
            }
            Body::File(place) => {
                place.length() + text.len() <= MERGE_BYTES && self.spill.extend(place, text)
            }
        };
        if !merged {
            return Some(room);
        }
        match (&mut entry.room, room) {
            (Some(held), Some(more)) => held.merge(more),
            (held @ None, more) => *held = more,
            (Some(_), None) => {}
        }
        None
    }

    pub(crate) fn finish(&mut self, ended: Ended) {
        let large = matches!(&ended.outcome, Ok(result) if result.len() > INLINE_RESULT_BYTES);
        self.end = Some((ended, if large { Step::ToPush } else { Step::ToSend }));
    }

    pub(crate) fn leave_start_to_end(&mut self) {
        self.started_unsaid = true;
    }

    pub(crate) fn follow(&mut self, report: Report) {
        self.followers.push(report);
    }

    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.end = None;
    }

    pub(crate) fn pushed(&mut self) {
        if let Some((_, step @ Step::Pushing)) = &mut self.end {
            *step = Step::ToSend;
        }
    }

    pub(crate) fn push_again(&mut self) {
        if let Some((_, step @ Step::Pushing)) = &mut self.end {
            *step = Step::ToPush;
        }
    }

    pub(crate) fn acknowledge(&mut self, sequence: u64) {
        // What was never sent cannot have arrived.
        let sequence = sequence.min(self.highest_sent);
        while self.entries.front().is_some_and(|entry| entry.sequence <= sequence) {
            match self.entries.pop_front().map(|entry| entry.body) {
                Some(Body::Memory(text)) => {
                    self.in_memory = self.in_memory.saturating_sub(cost(&text) as usize);
                }
                Some(Body::File(_)) => self.in_file -= 1,
                None => {}
            }
            self.cursor = self.cursor.saturating_sub(1);
        }
        if self.in_file == 0 {
            self.spill.clear();
        }
    }

    /// `true` if something can be sent or pushed now.
    pub(crate) fn has_next(&self) -> bool {
        if self.cursor < self.entries.len() {
            return true;
        }
        match self.end {
            Some((_, Step::ToPush | Step::ToSend)) => true,
            Some((_, Step::Pushing)) => false,
            _ => !self.followers.is_empty(),
        }
    }

    pub(crate) fn next(&mut self, attempt: AttemptId) -> Option<Next> {
        if let Some(entry) = self.entries.get(self.cursor) {
            self.cursor += 1;
            self.highest_sent = self.highest_sent.max(entry.sequence);
            let text = match &entry.body {
                Body::Memory(text) => text.clone(),
                Body::File(place) => self.spill.read(*place),
            };
            let (sequence, stream) = (entry.sequence, entry.stream);
            return Some(Next::Send(Report::Output { attempt, sequence, stream, text }));
        }
        let last_sequence = self.last_sequence;
        match &mut self.end {
            Some((ended, step @ Step::ToPush)) => {
                *step = Step::Pushing;
                let result = ended.outcome.clone().unwrap_or_default();
                Some(Next::Push { attempt, result })
            }
            Some((ended, step @ Step::ToSend)) => {
                *step = Step::Sent;
                let large =
                    matches!(&ended.outcome, Ok(result) if result.len() > INLINE_RESULT_BYTES);
                Some(Next::Send(Report::Finished {
                    attempt,
                    ended: ended.clone(),
                    result_pushed: large,
                    last_sequence,
                    started_unsaid: self.started_unsaid,
                }))
            }
            Some((_, Step::Pushing)) => None,
            Some((_, Step::Sent)) | None if self.followers.is_empty() => None,
            Some((_, Step::Sent)) | None => Some(Next::Send(self.followers.remove(0))),
        }
    }

    /// A new session: nothing of this has been sent in it. Containers that are gone are missing in
    /// its hello, so what would follow says nothing new.
    pub(crate) fn rewind(&mut self) {
        self.cursor = 0;
        self.followers.clear();
        if let Some((ended, step)) = &mut self.end {
            let large = matches!(&ended.outcome, Ok(result) if result.len() > INLINE_RESULT_BYTES);
            *step = if large { Step::ToPush } else { Step::ToSend };
        }
    }

    /// `true` if nothing is left and no end will come.
    pub(crate) fn is_done(&self) -> bool {
        self.closed && self.entries.is_empty() && self.followers.is_empty()
    }

    pub(crate) fn into_followers(self) -> Vec<Report> {
        self.followers
    }
}
