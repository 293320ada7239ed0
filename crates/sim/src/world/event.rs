//! What is to come: messages on their way, timers, and things that clients and faults bring.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use metal9_core::WorkerHello;
use metal9_types::{AttemptId, CallOutcome, ContainerId, Moment, SessionId};

/// From the gateway to a worker.
#[derive(Clone, Debug)]
pub(crate) enum ToWorker {
    Welcome {
        drop_attempts: Vec<AttemptId>,
        drop_containers: Vec<ContainerId>,
    },
    Assign(Assignment),
    StopAttempt(AttemptId),
    StopContainer(ContainerId),
    FinishedAck(AttemptId),
    /// The session is over.
    Close,
}

/// An attempt on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Assignment {
    pub(crate) attempt: AttemptId,
    pub(crate) number: u32,
    pub(crate) task: usize,
    pub(crate) container: ContainerId,
    pub(crate) fresh: bool,
}

/// From a worker to the gateway.
#[derive(Clone, Debug)]
pub(crate) enum ToGateway {
    Hello(Box<WorkerHello>),
    Heartbeat,
    Started(AttemptId),
    Finished {
        attempt: AttemptId,
        outcome: CallOutcome,
        reusable: bool,
    },
    Gone(ContainerId),
    Leaving,
    /// The session is over.
    Close,
}

impl ToGateway {
    /// A report may come late or twice: a worker says again what it is not sure was heard. A hello
    /// and the end of a session may not.
    pub(crate) fn is_report(&self) -> bool {
        !matches!(self, Self::Hello(_) | Self::Close)
    }
}

impl ToWorker {
    pub(crate) fn is_order(&self) -> bool {
        !matches!(self, Self::Welcome { .. } | Self::Close)
    }
}

/// Something a worker waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Timer {
    Dial,
    /// The gateway should have answered by now.
    DialTimeout(SessionId),
    Heartbeat(SessionId),
    /// The user's code begins.
    Begin(AttemptId),
    /// The user's code is over.
    Done(AttemptId),
    /// A container has ended.
    Gone(ContainerId),
    /// A worker that leaves waits no longer.
    Farewell,
}

/// What ends by itself after a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Cut,
    Partition,
    Freeze,
    Off,
}

/// Something to come.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Up {
        session: SessionId,
        message: ToGateway,
    },
    Down {
        session: SessionId,
        message: ToWorker,
    },
    /// The gateway finds out that a session was reset.
    Reset {
        session: SessionId,
    },
    /// An end of a session has had no answer to its pings since the link's trouble began.
    GatewayGivesUp {
        session: SessionId,
        trouble: u32,
    },
    WorkerGivesUp {
        session: SessionId,
        trouble: u32,
    },
    Timer {
        worker: usize,
        life: u32,
        timer: Timer,
    },
    Relief {
        worker: usize,
        fault: Fault,
        number: u32,
    },
    Commit {
        epoch: u32,
    },
    Submit {
        task: usize,
    },
    Cancel {
        task: usize,
    },
    GatewayUp,
    Sweep,
}

/// What is to come, in order of time and of becoming known.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Reverse<Entry>>,
    counter: u64,
}

#[derive(Debug)]
struct Entry {
    at: Moment,
    number: u64,
    event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl Queue {
    pub(crate) fn push(&mut self, at: Moment, event: Event) {
        self.counter += 1;
        self.heap.push(Reverse(Entry { at, number: self.counter, event }));
    }

    pub(crate) fn next_at(&self) -> Option<Moment> {
        self.heap.peek().map(|Reverse(entry)| entry.at)
    }

    pub(crate) fn pop(&mut self) -> Option<Event> {
        self.heap.pop().map(|Reverse(entry)| entry.event)
    }
}
