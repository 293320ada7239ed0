//! What the worker tells the gateway.

use std::time::Duration;

use bytes::Bytes;
use metal9_types::{AttemptId, Condition, ContainerId, EnvLock, Failure, ObjectId, Phase, StubId};

use crate::event::NotBuilt;
use crate::machine::Usage;

/// Which of a job's two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ended {
    /// The pickled result, or why there is none.
    pub(crate) outcome: Result<Bytes, Failure>,
    pub(crate) phases: Vec<Phase>,
    /// `true` if the container can take another call.
    pub(crate) reusable: bool,
}

impl Ended {
    /// A call that failed, in a container that can take no other.
    pub(crate) fn failed(failure: Failure, phases: Vec<Phase>) -> Self {
        Self { outcome: Err(failure), phases, reusable: false }
    }
}

/// One message to the gateway.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Report {
    /// How busy the machine is, and how it is doing.
    Heartbeat(Usage, Condition),
    Started(AttemptId),
    Progress {
        attempt: AttemptId,
        text: String,
    },
    Output {
        attempt: AttemptId,
        sequence: u64,
        stream: Stream,
        text: String,
    },
    Finished {
        attempt: AttemptId,
        ended: Ended,
        result_pushed: bool,
        last_sequence: u64,
        started_unsaid: bool,
    },
    ContainerGone {
        container: ContainerId,
        reason: String,
    },
    BuildProgress {
        build: u64,
        text: String,
    },
    Built {
        build: u64,
        outcome: Result<EnvLock, NotBuilt>,
    },
    /// The worker leaves; running calls may go on for so long, or are being stopped.
    Leaving {
        within: Duration,
    },
}

/// A container that the worker has.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LiveContainer {
    pub(crate) container: ContainerId,
    pub(crate) stub: StubId,
    /// Places in the worker's list of devices.
    pub(crate) devices: Vec<usize>,
}

/// What the worker has when it connects.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Presence {
    /// Attempt, task and container.
    pub(crate) attempts: Vec<(AttemptId, String, ContainerId)>,
    pub(crate) containers: Vec<LiveContainer>,
    pub(crate) condition: Condition,
    pub(crate) environments: Vec<String>,
    pub(crate) objects: Vec<ObjectId>,
    /// What ended an earlier run while jobs ran; empty if nothing did.
    pub(crate) interruption: String,
    /// Whether it can mount a JuiceFS file system.
    pub(crate) mounts_juicefs: bool,
}
