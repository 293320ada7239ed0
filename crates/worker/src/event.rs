//! Everything the manager is told.

use std::time::Duration;

use metal9_env::Environment;
use metal9_types::{AttemptId, ContainerId, EnvLock, MacosVersion, Target};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::container::{Call, ContainerSpec};
use crate::devices::Gauge;
use crate::gateway::TransferError;
use crate::report::{Ended, Presence, Report, Stream};
use crate::roots::Means;
use crate::runner::Runner;
use crate::spares::{Key, Kind};

/// The gateway's answer to a hello.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Welcome {
    pub(crate) heartbeat: Duration,
    pub(crate) drop_attempts: Vec<AttemptId>,
    pub(crate) drop_containers: Vec<ContainerId>,
    /// Host and port where jobs reach the client API.
    pub(crate) grpc: (String, String),
    /// Host and port where jobs reach the HTTP API.
    pub(crate) http: (String, String),
    /// Whether no package may be built from its source.
    pub(crate) only_wheels: bool,
}

/// What is wanted of an image.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum BuildTask {
    /// Its environment on this machine; on a Mac one that fits others of this macOS, too. With what
    /// its root filesystem takes, if it has one.
    Here { macos: Option<MacosVersion>, means: Means },
    /// No environment, only the packages for machines of some kind.
    /// Nothing for a kind that this worker does not know.
    Resolve(Option<Target>),
}

/// Why an image was not built, for a person.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct NotBuilt {
    pub(crate) text: String,
    /// The packages themselves cannot be had: trying again is of no use.
    pub(crate) is_final: bool,
}

/// What the gateway wants done.
#[derive(Debug, PartialEq)]
pub(crate) enum Order {
    Assign {
        container: ContainerId,
        spec: Option<Box<ContainerSpec>>,
        call: Call,
    },
    Unreadable {
        attempt: AttemptId,
        task_id: String,
        container: ContainerId,
        problem: String,
    },
    StopAttempt {
        attempt: AttemptId,
        reason: String,
    },
    StopContainer(ContainerId),
    OutputAck {
        attempt: AttemptId,
        sequence: u64,
    },
    FinishedAck(AttemptId),
    Build {
        build: u64,
        image_spec: String,
        task: BuildTask,
    },
    /// Nobody waits for a build any more.
    CancelBuild(u64),
    /// Carry bytes between the gateway and a process of a container.
    OpenTunnel {
        tunnel: u64,
        container: ContainerId,
        process: u32,
    },
    /// Carry changes of a container's code from the gateway.
    OpenWorkspace {
        tunnel: u64,
        container: ContainerId,
    },
    /// An attempt that serves requests is over.
    ReleaseAttempt(AttemptId),
    Ping,
    RotateCredential,
}

/// What happens, to the session, in the containers and in the background.
#[derive(Debug)]
pub(crate) enum Event {
    /// A session is being opened: what is there now? Reports from here on belong to it.
    Opening { presence: oneshot::Sender<Presence> },
    /// The gateway welcomed the worker.
    Open { welcome: Welcome, outgoing: mpsc::Sender<Report> },
    /// The session is over.
    Closed,
    /// How the machine is doing is measured by this from now on.
    Measured(Box<Gauge>),
    /// The gateway wants something.
    Order(Order),
    /// A large result has arrived at the gateway, or has not, in the session of this number.
    ResultPushed { attempt: AttemptId, session: u64, outcome: Result<(), TransferError> },

    /// A step takes its time.
    Progress { attempt: AttemptId, text: String },
    /// A job wrote something.
    Output { attempt: AttemptId, stream: Stream, text: String, room: Option<OwnedSemaphorePermit> },
    /// The user's code is about to be called.
    Started(AttemptId),
    /// A call is over; all it wrote has been told before.
    Ended { attempt: AttemptId, ended: Ended },
    /// A container has loaded its handler.
    Loaded(ContainerId),
    /// A container and everything in it is gone.
    Gone { container: ContainerId, reason: String },

    /// An environment was built and will be used soon.
    Prepared(Environment),
    /// A container wants a runner of this kind that is already there, or is being made.
    TakeSpare { kind: Kind, reply: oneshot::Sender<Option<Box<Runner>>> },
    /// A spare runner is ready, or could not be made.
    Spare { kind: Key, runner: Option<Box<Runner>> },

    /// A build says something.
    BuildProgress { build: u64, text: String },
    /// A build is over.
    Built { build: u64, outcome: Result<EnvLock, NotBuilt> },
}
