//! What developers try out with `serve`: for each stub one container, which takes changes of its code
//! and is there for as long as its developer is.

mod session;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use metal9_core::Input;
use metal9_store::StubRow;
use metal9_types::{ContainerId, Failure, FailureKind, StubId};

use crate::endpoints::until;
use crate::error::ApiError;
use crate::hub::Live;
use crate::shared::{Shared, SharedRef};
use crate::validate::refuse;
pub(crate) use session::{Patience, Session};

/// How long it is waited for a container to be assigned: what is started then has a name, by which
/// its developer follows it.
const START_WITHIN: Duration = Duration::from_secs(30);

/// How long what became of a container is known after its end.
const REMEMBERED: Duration = Duration::from_secs(60);

/// How long a container may take to end.
const END_WITHIN: Duration = Duration::from_secs(30);

/// All that is tried out.
#[derive(Debug, Default)]
pub(crate) struct Serves {
    sessions: Mutex<HashMap<StubId, Arc<Session>>>,
    starting: Mutex<HashSet<StubId>>,
}

impl Serves {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<StubId, Arc<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session of a container, also for a moment after its end.
    pub(crate) fn of(&self, container: ContainerId) -> Option<Arc<Session>> {
        self.lock().values().find(|session| session.container == container).cloned()
    }

    /// Something was asked of a stub that may be tried out.
    pub(crate) fn touch(&self, stub: StubId) {
        if let Some(session) = self.lock().get(&stub) {
            session.touch();
        }
    }

    fn forget(&self, session: &Arc<Session>) {
        let mut sessions = self.lock();
        if sessions.get(&session.stub).is_some_and(|it| Arc::ptr_eq(it, session)) {
            sessions.remove(&session.stub);
        }
    }
}

/// A stub whose container is being started; if that does not come about, nothing of it stays.
struct Starting<'a> {
    shared: &'a Shared,
    stub: StubId,
    done: bool,
}

impl<'a> Starting<'a> {
    /// Nothing if it is being started already.
    fn begin(shared: &'a Shared, stub: StubId) -> Option<Self> {
        let mut starting = shared.serves.starting.lock().unwrap_or_else(PoisonError::into_inner);
        starting.insert(stub).then_some(Self { shared, stub, done: false })
    }
}

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        let serves = &self.shared.serves;
        serves.starting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.stub);
        if !self.done {
            self.shared.endpoints.abandon(self.stub);
        }
    }
}

/// Starts the container of a stub, unless it has one; gives the container.
///
/// # Errors
/// If none can be had soon; with why not.
pub(crate) async fn start(
    shared: &SharedRef,
    stub: &Arc<StubRow>,
    patience: Patience,
) -> Result<ContainerId, ApiError> {
    let Some(mut starting) = Starting::begin(shared, stub.id) else {
        return Err(refuse("it is being started already", "wait for that, or stop it first"));
    };
    let known =
        shared.serves.lock().get(&stub.id).filter(|session| session.exit_code().is_none()).cloned();
    if let Some(session) = known {
        starting.done = true;
        session.touch();
        return Ok(session.container);
    }
    shared.endpoints.develop(stub);
    let found =
        tokio::time::timeout(START_WITHIN, shared.endpoints.developed(stub.id, false)).await;
    let Ok(Some(place)) = found else {
        let reason = shared.endpoints.why_it_waits(stub.id);
        let reason = reason.unwrap_or_else(|| "no worker has room for it at this time".to_owned());
        return Err(refuse(
            format!("no container could be started within {} s; {reason}", START_WITHIN.as_secs()),
            "try again when there is room; `beta9 container list` shows what runs",
        ));
    };
    let Some(live) = shared.hub.get(place.hold) else {
        return Err(refuse("the container ended as soon as it was started", "try again"));
    };
    let usual = Duration::from_secs(shared.options.serve_timeout_seconds);
    let session = Arc::new(Session::new(stub, &place, patience.or(usual)));
    shared.serves.lock().insert(stub.id, Arc::clone(&session));
    starting.done = true;
    tracing::info!(stub = %stub.id, container = %place.container, "code is tried out");
    let shared = SharedRef::clone(shared);
    metal9_tasks::spawn_infallible("a container that is tried out", async move {
        keep(&shared, &session, &live).await;
        let ended = live.watch().borrow().ended.clone();
        session.ends(ended.map_or(1, |ended| exit_code(ended.failure.as_ref())));
        tokio::select! {
            () = tokio::time::sleep(REMEMBERED) => {}
            () = shared.shutdown.cancelled() => {}
        }
        shared.serves.forget(&session);
    });
    Ok(place.container)
}

/// What is told to clients of a container's end: it was asked for, or it went wrong.
pub(crate) fn exit_code(failure: Option<&Failure>) -> i32 {
    failure.filter(|it| it.kind != FailureKind::Cancelled).map_or(0, |it| it.exit_code)
}

/// Keeps a session's container until it ends by itself, or nobody needs it any more.
async fn keep(shared: &SharedRef, session: &Session, live: &Live) {
    let mut watch = live.watch();
    let why = loop {
        let verdict = session.verdict(Instant::now());
        let at = match verdict {
            session::Verdict::Over(_)
                if shared.endpoints.requests_of(session.stub) > 0 && !session.is_left() =>
            {
                session.touch();
                continue;
            }
            session::Verdict::Over(why) => break why,
            session::Verdict::Until(at) => at,
        };
        tokio::select! {
            _ = watch.wait_for(|snapshot| snapshot.ended.is_some()) => return,
            () = session.changed() => {}
            () = until(at.map(Into::into)) => {}
            () = shared.shutdown.cancelled() => return,
        }
    };
    tracing::info!(stub = %session.stub, container = %session.container, why, "it is stopped");
    shared.hub.say(session.hold, &format!("{why}\n")).await;
    shared.endpoints.abandon(session.stub);
    let stop = Input::StopContainer { container: session.container };
    if shared.driver.input(stop).await.is_ok() {
        let ended = watch.wait_for(|snapshot| snapshot.ended.is_some());
        let _ = tokio::time::timeout(END_WITHIN, ended).await;
    }
}
