//! Image builds under way on workers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use metal9_proto::worker as wire;
use metal9_types::{EnvLock, ObjectId, RootLock, SessionId};
use tokio::sync::mpsc;

use crate::fleet::Fleet;

/// Lines that may wait for a client that reads slowly; further ones are dropped.
const QUEUE: usize = 256;

/// What a build says.
#[derive(Debug)]
pub(crate) enum BuildEvent {
    /// Text for the user, ending in a newline.
    Progress(String),
    /// The image is resolved and its environment built.
    Built(EnvLock),
    /// It was not built.
    Failed {
        /// Why, for the user.
        text: String,
        /// The packages themselves cannot be had.
        is_final: bool,
    },
    /// The worker that built it is gone.
    Lost,
}

#[derive(Debug)]
struct Build {
    session: SessionId,
    /// What it copies from.
    context: Option<ObjectId>,
    events: mpsc::Sender<BuildEvent>,
}

/// A build that somebody waits for; when dropped before its end, the worker is told to leave it.
#[derive(Debug)]
pub(crate) struct Awaited<'a> {
    /// Its number.
    pub(crate) id: u64,
    /// Where its events come.
    pub(crate) events: mpsc::Receiver<BuildEvent>,
    session: SessionId,
    builds: &'a Builds,
    fleet: &'a Fleet,
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        if self.builds.lock().remove(&self.id).is_some() {
            let cancel = wire::CancelBuild { build_id: self.id };
            let message = wire::gateway_message::Message::CancelBuild(cancel);
            self.fleet.send(self.session, message.into());
        }
    }
}

/// Image builds under way.
#[derive(Debug, Default)]
pub(crate) struct Builds {
    running: Mutex<HashMap<u64, Build>>,
    next: AtomicU64,
}

impl Builds {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Build>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a build on this session.
    pub(crate) fn begin<'a>(
        &'a self,
        fleet: &'a Fleet,
        session: SessionId,
        context: Option<ObjectId>,
    ) -> Awaited<'a> {
        let id = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, events) = mpsc::channel(QUEUE);
        self.lock().insert(id, Build { session, context, events: sender });
        Awaited { id, events, session, builds: self, fleet }
    }

    /// How many run on this session.
    pub(crate) fn on(&self, session: SessionId) -> usize {
        self.lock().values().filter(|build| build.session == session).count()
    }

    /// Whether a build on this session copies from this object.
    pub(crate) fn copies_from(&self, session: SessionId, object: ObjectId) -> bool {
        let on = |build: &Build| build.session == session && build.context == Some(object);
        self.lock().values().any(on)
    }

    pub(crate) fn progress(&self, build: u64, text: String) {
        if let Some(build) = self.lock().get(&build)
            && build.events.try_send(BuildEvent::Progress(text)).is_err()
        {
            tracing::debug!("dropped a line of a build's progress");
        }
    }

    pub(crate) fn finished(&self, finished: wire::BuildFinished) {
        let Some(build) = self.lock().remove(&finished.build_id) else { return };
        let lock = finished.lock.and_then(|lock| {
            let platform = lock.platform.parse().ok()?;
            let macos = lock.macos.parse().ok();
            let root = lock.root.map(|root| RootLock { base: root.base });
            let (python, requirements) = (lock.python, lock.requirements);
            Some(EnvLock { platform, python, requirements, macos, root })
        });
        let event = match lock {
            Some(lock) if finished.error.is_empty() => BuildEvent::Built(lock),
            _ if finished.error.is_empty() => {
                let text = "the worker built the image but sent no lock".to_owned();
                BuildEvent::Failed { text, is_final: false }
            }
            _ => BuildEvent::Failed { text: finished.error, is_final: finished.is_final },
        };
        deliver(build.events, event);
    }

    /// Ends the builds of a worker that is gone.
    pub(crate) fn session_ended(&self, session: SessionId) {
        let mut running = self.lock();
        let lost: Vec<u64> =
            running.iter().filter(|(_, b)| b.session == session).map(|(id, _)| *id).collect();
        for id in lost {
            if let Some(build) = running.remove(&id) {
                deliver(build.events, BuildEvent::Lost);
            }
        }
    }
}

/// Delivers a last event even if the queue is full of progress.
fn deliver(events: mpsc::Sender<BuildEvent>, event: BuildEvent) {
    if let Err(mpsc::error::TrySendError::Full(event)) = events.try_send(event) {
        metal9_tasks::spawn_infallible("deliver the end of a build", async move {
            // The client has gone if this fails.
            let _ = events.send(event).await;
        });
    }
}
