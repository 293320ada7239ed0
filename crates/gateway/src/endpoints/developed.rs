//! Stubs that somebody tries out: one container each, whose code changes.

use std::sync::Arc;

use metal9_store::StubRow;
use metal9_types::StubId;
use tokio::io::DuplexStream;

use super::Endpoints;
use super::book::Place;
use super::tunnels::Tunnels;
use crate::shared::Shared;

impl Endpoints {
    /// Keeps one container for a stub, which takes requests from now on.
    pub(crate) fn develop(&self, stub: &Arc<StubRow>) {
        self.change(|state, now| {
            state.stubs.insert(stub.id, Arc::clone(stub));
            state.developed.insert(stub.id);
            state.book.keep_one(now, stub.id, stub.config.serving);
        });
    }

    /// Ends what [`Endpoints::develop`] began, but for the container if it has one.
    pub(crate) fn abandon(&self, stub: StubId) {
        self.change(|state, now| {
            state.developed.remove(&stub);
            state.stubs.remove(&stub);
            state.book.close(now, stub);
        });
        self.progress.send_replace(());
    }

    /// The container of a stub that is tried out, once there is one, or once it takes requests.
    /// Nothing when it is tried out no more.
    pub(crate) async fn developed(&self, stub: StubId, ready: bool) -> Option<Place> {
        let mut progress = self.progress.subscribe();
        loop {
            progress.borrow_and_update();
            {
                let state = self.lock();
                if !state.developed.contains(&stub) {
                    return None;
                }
                if let Some((place, is_ready)) = state.book.first(stub)
                    && (is_ready || !ready)
                {
                    return Some(place);
                }
            }
            progress.changed().await.ok()?;
        }
    }

    /// Requests of a stub that wait or run.
    pub(crate) fn requests_of(&self, stub: StubId) -> usize {
        self.lock().book.requests(stub)
    }

    /// Why the container of a stub waits, if it does and the scheduler has said so.
    pub(crate) fn why_it_waits(&self, stub: StubId) -> Option<String> {
        self.reason(stub)
    }

    /// Whether a stub is tried out at this moment.
    pub(super) fn is_developed(&self, stub: StubId) -> bool {
        self.lock().developed.contains(&stub)
    }
}

/// The way by which the code of a container changes.
///
/// # Errors
/// If there is none, with the reason for people.
pub(crate) async fn take_changes_at(
    shared: &Shared,
    place: &Place,
) -> Result<DuplexStream, String> {
    Tunnels::open_workspace(shared, place).await.map_err(|error| error.to_string())
}
