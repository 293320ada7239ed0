//! One container that is tried out, and for how long.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use metal9_store::StubRow;
use metal9_types::{ContainerId, StubId, TaskId, WorkspaceId};
use tokio::sync::Notify;

use crate::endpoints::Place;
use crate::error::ApiError;
use crate::validate::refuse;

/// How long a container is kept without anything being changed or asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Patience {
    /// As long as somebody is attached, and this long until somebody is.
    Usual(Duration),
    /// This long, whoever is attached.
    Limit(Duration),
    /// For ever; and this long until somebody is attached.
    Endless(Duration),
}

impl Patience {
    /// Reads what the client says: seconds, 0 for what is usual, -1 for no end.
    ///
    /// # Errors
    /// For any other negative number.
    pub(crate) fn read(seconds: i32) -> Result<Self, ApiError> {
        match seconds {
            0 => Ok(Self::Usual(Duration::ZERO)),
            -1 => Ok(Self::Endless(Duration::ZERO)),
            _ => match u64::try_from(seconds) {
                Ok(seconds) => Ok(Self::Limit(Duration::from_secs(seconds))),
                Err(_) => Err(refuse(
                    format!("a timeout of {seconds} s makes no sense"),
                    "give seconds, 0 for the usual time, or -1 for no end",
                )),
            },
        }
    }

    /// The same, with what is usual here.
    pub(super) fn or(self, usual: Duration) -> Self {
        match self {
            Self::Usual(_) => Self::Usual(usual),
            Self::Endless(_) => Self::Endless(usual),
            limit @ Self::Limit(_) => limit,
        }
    }
}

#[derive(Debug)]
struct State {
    /// Clients that are attached, and whether one ever was.
    attached: usize,
    was_attached: bool,
    /// When something was last changed or asked for.
    active: Instant,
    /// How it ended, once it has: the exit code for clients.
    over: Option<i32>,
}

/// A container that is tried out.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) stub: StubId,
    pub(crate) workspace: WorkspaceId,
    pub(crate) container: ContainerId,
    /// What the container serves by; its output is the container's.
    pub(crate) hold: TaskId,
    patience: Patience,
    state: Mutex<State>,
    changed: Notify,
}

/// Whether a container is still needed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// It is not, and why.
    Over(String),
    /// It is, to be looked at again then.
    Until(Option<Instant>),
}

/// A client that is attached to a session, until this is dropped.
#[derive(Debug)]
pub(crate) struct Attached(Arc<Session>);

impl Drop for Attached {
    fn drop(&mut self) {
        self.0.change(|state| state.attached -= 1);
    }
}

impl Session {
    pub(super) fn new(stub: &StubRow, place: &Place, patience: Patience) -> Self {
        let state = State { attached: 0, was_attached: false, active: Instant::now(), over: None };
        Self {
            stub: stub.id,
            workspace: stub.workspace,
            container: place.container,
            hold: place.hold,
            patience,
            state: Mutex::new(state),
            changed: Notify::new(),
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_one();
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a client in.
    pub(crate) fn attach(self: &Arc<Self>) -> Attached {
        self.change(|state| {
            state.attached += 1;
            state.was_attached = true;
            state.active = Instant::now();
        });
        Attached(Arc::clone(self))
    }

    /// Something was changed, or asked for.
    pub(crate) fn touch(&self) {
        self.change(|state| state.active = Instant::now());
    }

    pub(super) fn ends(&self, exit_code: i32) {
        self.change(|state| state.over = Some(exit_code));
    }

    /// What its container ended with, once it has.
    pub(crate) fn exit_code(&self) -> Option<i32> {
        self.state().over
    }

    /// Whether the last client has gone.
    pub(super) fn is_left(&self) -> bool {
        let state = self.state();
        state.was_attached && state.attached == 0
    }

    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    pub(super) fn verdict(&self, now: Instant) -> Verdict {
        let state = self.state();
        if state.was_attached && state.attached == 0 {
            return Verdict::Over("stopped: nobody is attached any more".to_owned());
        }
        let limit = match self.patience {
            Patience::Limit(limit) => limit,
            Patience::Usual(usual) | Patience::Endless(usual) if !state.was_attached => usual,
            Patience::Usual(_) | Patience::Endless(_) => return Verdict::Until(None),
        };
        let until = state.active + limit;
        if now >= until {
            let seconds = limit.as_secs();
            return Verdict::Over(format!(
                "stopped: nothing was changed or asked for in {seconds} s (its timeout)"
            ));
        }
        Verdict::Until(Some(until))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn session(patience: Patience) -> Arc<Session> {
        Arc::new(Session {
            stub: StubId(Uuid::nil()),
            workspace: WorkspaceId(Uuid::nil()),
            container: ContainerId(1),
            hold: TaskId(Uuid::nil()),
            patience: patience.or(Duration::from_secs(600)),
            state: Mutex::new(State {
                attached: 0,
                was_attached: false,
                active: Instant::now(),
                over: None,
            }),
            changed: Notify::new(),
        })
    }

    fn is_over(session: &Session, seconds: u64) -> bool {
        let at = Instant::now() + Duration::from_secs(seconds);
        matches!(session.verdict(at), Verdict::Over(_))
    }

    #[test]
    fn usually_it_lasts_as_long_as_somebody_is_attached() {
        let session = session(Patience::read(0).unwrap());
        assert!(!is_over(&session, 500) && is_over(&session, 601));
        let first = session.attach();
        let second = session.attach();
        drop(first);
        assert!(!is_over(&session, 1_000_000));
        drop(second);
        assert!(is_over(&session, 0));
    }

    #[test]
    fn a_limit_holds_whoever_is_attached() {
        let session = session(Patience::read(20).unwrap());
        let _attached = session.attach();
        assert!(!is_over(&session, 19) && is_over(&session, 21));
    }

    #[test]
    fn without_an_end_it_lasts_but_not_without_anybody() {
        let session = session(Patience::read(-1).unwrap());
        assert!(is_over(&session, 601));
        let attached = session.attach();
        assert!(!is_over(&session, 1_000_000));
        drop(attached);
        assert!(is_over(&session, 0));
        assert!(Patience::read(-2).is_err());
    }
}
