//! How the rest of the gateway talks to the driver.

use std::fmt;

use metal9_core::{Core, Input, StubSpec, TaskSpec, WorkerHello};
use metal9_store::UnixMicros;
use metal9_types::{ContainerId, Failure, Moment, TaskId, WorkerId};
use tokio::sync::{mpsc, oneshot};

use super::actions::Finished;
use crate::error::ApiError;

type Query = Box<dyn FnOnce(&Core, Moment) + Send>;

/// Something for the driver to do.
pub(crate) enum Command {
    /// Something happened.
    Input(Input),
    /// A call was accepted: its stub, and its task.
    Submit(Box<StubSpec>, TaskSpec),
    /// A worker connected, with until when it is being emptied, if it is.
    Hello(Box<WorkerHello>, Option<UnixMicros>),
    /// An attempt is over.
    Finished(Finished),
    /// A worker says that a container has ended.
    Gone(WorkerId, ContainerId),
    /// Somebody wants to look.
    Query(Query),
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(input) => input.fmt(f),
            Self::Submit(_, task) => task.fmt(f),
            Self::Hello(hello, _) => hello.fmt(f),
            Self::Finished(finished) => finished.fmt(f),
            Self::Gone(worker, container) => write!(f, "Gone({worker}, {container})"),
            Self::Query(_) => f.write_str("Query"),
        }
    }
}

/// A handle to the driver.
#[derive(Clone, Debug)]
pub(crate) struct DriverHandle {
    commands: mpsc::Sender<Command>,
}

const STOPPING: ApiError = ApiError::Unavailable("the gateway is stopping");

impl DriverHandle {
    pub(crate) fn new(commands: mpsc::Sender<Command>) -> Self {
        Self { commands }
    }

    /// Hands a command over; waits while the queue is full.
    pub(crate) async fn send(&self, command: Command) -> Result<(), ApiError> {
        self.commands.send(command).await.map_err(|_| STOPPING)
    }

    /// Hands an input over.
    pub(crate) async fn input(&self, input: Input) -> Result<(), ApiError> {
        self.send(Command::Input(input)).await
    }

    /// Ends a task with this failure unless it has ended.
    pub(crate) async fn cancel(&self, task: TaskId, failure: Failure) -> Result<(), ApiError> {
        self.input(Input::Cancel { task, failure }).await
    }

    /// Looks at the scheduler.
    pub(crate) async fn query<T, F>(&self, look: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce(&Core, Moment) -> T + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let query = Box::new(move |core: &Core, now: Moment| {
            // Nobody listens any more if the caller has gone.
            let _ = answer.send(look(core, now));
        });
        self.send(Command::Query(query)).await?;
        answered.await.map_err(|_| STOPPING)
    }
}
