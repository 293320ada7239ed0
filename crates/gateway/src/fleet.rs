//! The workers' sessions, as the driver sees them: somewhere to send messages to.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use metal9_core::Action;
use metal9_proto::worker as wire;
use metal9_tasks::CancellationToken;
use metal9_types::{
    AttemptId, Condition, ContainerId, MacosVersion, Platform, RootSource, SessionId, StubId,
    Target, TaskId, WorkerId,
};
use tokio::sync::{Notify, mpsc};

/// Messages that may wait for one worker. A worker that lets more pile up is cut off; it connects
/// again and goes on where it was.
pub(crate) const QUEUE: usize = 4096;

/// What is sent to a worker, in order.
#[derive(Debug)]
pub(crate) enum Outbound {
    /// A message that is ready.
    Message(Box<wire::gateway_message::Message>),
    /// An attempt, whose message the session puts together.
    Assign(Assignment),
}

/// An attempt on its way to a worker.
#[derive(Clone, Debug)]
pub(crate) struct Assignment {
    pub(crate) attempt: AttemptId,
    pub(crate) attempt_number: u32,
    pub(crate) task: TaskId,
    pub(crate) stub: StubId,
    pub(crate) container: ContainerId,
    pub(crate) fresh: bool,
    /// The devices of a fresh container.
    pub(crate) devices: Vec<usize>,
}

/// One connected worker.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) worker: WorkerId,
    /// The pool that it joined.
    pub(crate) pool: String,
    pub(crate) platform: Platform,
    /// Its macOS, if it is a Mac.
    pub(crate) macos: Option<MacosVersion>,
    /// Which root filesystems its containers can have.
    pub(crate) root: RootSource,
    /// How it says it isolates jobs.
    pub(crate) isolation: String,
    /// How it last said that its machine is doing.
    pub(crate) condition: Condition,
    pub(crate) queue: mpsc::Sender<Outbound>,
    /// Cancelled to cut the session.
    pub(crate) cut: CancellationToken,
}

/// All connected workers.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    connections: Mutex<HashMap<SessionId, Connection>>,
    next: AtomicU64,
    arrivals: Notify,
}

impl From<wire::gateway_message::Message> for Outbound {
    fn from(message: wire::gateway_message::Message) -> Self {
        Self::Message(Box::new(message))
    }
}

impl Fleet {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SessionId, Connection>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection and names its session. Older ones of the same worker are cut: a worker has
    /// one session, and those are left over from before it connected again.
    pub(crate) fn add(&self, connection: Connection) -> SessionId {
        let mut connections = self.lock();
        Self::cut_among(&mut connections, connection.worker);
        let session = SessionId(self.next.fetch_add(1, Ordering::Relaxed) + 1);
        connections.insert(session, connection);
        drop(connections);
        self.arrivals.notify_waiters();
        session
    }

    /// Cuts what a worker is connected by; it connects again and says what it has.
    pub(crate) fn cut(&self, worker: WorkerId) {
        Self::cut_among(&mut self.lock(), worker);
    }

    fn cut_among(connections: &mut HashMap<SessionId, Connection>, worker: WorkerId) {
        connections.retain(|_, connection| {
            let other = connection.worker != worker;
            if !other {
                connection.cut.cancel();
            }
            other
        });
    }

    /// Removes a connection.
    pub(crate) fn remove(&self, session: SessionId) {
        self.lock().remove(&session);
    }

    /// Resolves when a worker connects after this call; look at [`Fleet::connections`] afterwards.
    pub(crate) fn connected(&self) -> impl Future<Output = ()> + '_ {
        let mut arrival = Box::pin(self.arrivals.notified());
        // Counted from here on, not from the first poll.
        arrival.as_mut().enable();
        arrival
    }

    /// `true` while the session lasts.
    pub(crate) fn is_connected(&self, session: SessionId) -> bool {
        self.lock().contains_key(&session)
    }

    /// The pool of the worker of a session; nothing if it is gone.
    pub(crate) fn pool(&self, session: SessionId) -> Option<String> {
        self.lock().get(&session).map(|connection| connection.pool.clone())
    }

    /// How the worker of a session isolates jobs; nothing if it is gone or does not say.
    pub(crate) fn isolation(&self, session: SessionId) -> Option<String> {
        let connections = self.lock();
        let isolation = &connections.get(&session)?.isolation;
        (!isolation.is_empty()).then(|| isolation.clone())
    }

    /// How the machine of a session is doing; nothing if it is gone.
    pub(crate) fn condition(&self, session: SessionId) -> Option<Condition> {
        self.lock().get(&session).map(|connection| connection.condition.clone())
    }

    /// Takes note of how a machine is doing; `true` if it matters to what it is given.
    pub(crate) fn set_condition(&self, session: SessionId, condition: Condition) -> bool {
        let mut connections = self.lock();
        let Some(connection) = connections.get_mut(&session) else { return false };
        let before = std::mem::replace(&mut connection.condition, condition);
        let after = &connection.condition;
        (before.thermal, before.power) != (after.thermal, after.power)
    }

    /// What environments on the worker of a session must fit; nothing if it is gone.
    pub(crate) fn target(&self, session: SessionId) -> Option<Target> {
        let connections = self.lock();
        let connection = connections.get(&session)?;
        let (platform, macos) = (connection.platform, connection.macos);
        Some(Target { platform, macos: macos.filter(|_| platform == Platform::Aarch64Darwin) })
    }

    /// Every connection, in the order in which they came.
    pub(crate) fn connections(&self) -> Vec<(SessionId, Connection)> {
        let mut all: Vec<_> = self.lock().iter().map(|(id, c)| (*id, c.clone())).collect();
        all.sort_by_key(|(session, _)| *session);
        all
    }

    /// Queues something for a worker; a session that is gone, or too slow, is left to reconnect.
    pub(crate) fn send(&self, session: SessionId, outbound: Outbound) {
        let connections = self.lock();
        let Some(connection) = connections.get(&session) else { return };
        if connection.queue.try_send(outbound).is_err() {
            tracing::warn!(worker = %connection.worker, "cutting a worker that does not keep up");
            connection.cut.cancel();
        }
    }

    /// Queues a message for a worker; `false` if it has no session.
    pub(crate) fn tell(&self, worker: WorkerId, message: wire::gateway_message::Message) -> bool {
        let session = {
            let connections = self.lock();
            let found = connections.iter().find(|(_, connection)| connection.worker == worker);
            found.map(|(session, _)| *session)
        };
        let Some(session) = session else { return false };
        self.send(session, message.into());
        true
    }

    /// Carries out an action that is a message to a worker; gives back any other.
    pub(crate) fn carry_out(&self, action: Action) -> Option<Action> {
        use wire::gateway_message::Message;
        let (session, outbound) = match action {
            Action::Assign {
                session,
                attempt,
                attempt_number,
                task,
                stub,
                container,
                fresh,
                devices,
                ..
            } => {
                let assignment =
                    Assignment { attempt, attempt_number, task, stub, container, fresh, devices };
                (session, Outbound::Assign(assignment))
            }
            Action::StopAttempt { session, attempt, reason, .. } => {
                let reason = crate::session::failure_kind_name(reason);
                let message = wire::StopAttempt { attempt_id: attempt.0, reason };
                (session, Message::StopAttempt(message).into())
            }
            Action::StopContainer { session, container, .. } => {
                let message = wire::StopContainer { container_id: container.0 };
                (session, Message::StopContainer(message).into())
            }
            other => return Some(other),
        };
        self.send(session, outbound);
        None
    }
}
