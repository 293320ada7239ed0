//! A job's cgroup in the hands of the worker.

use std::sync::{Arc, OnceLock};

use crate::cgroup::{Group, Tally};

/// The group of a job, which goes when this is dropped, in the background.
#[derive(Debug)]
pub(crate) struct Held {
    group: Option<Group>,
    last: Arc<OnceLock<Tally>>,
}

/// What can be asked of a job's group, also once it is gone.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) group: Option<Group>,
    last: Arc<OnceLock<Tally>>,
}

impl Held {
    pub(crate) fn new(group: Option<Group>) -> Self {
        Self { group, last: Arc::new(OnceLock::new()) }
    }

    pub(crate) fn asked(&self) -> Asked {
        Asked { group: self.group.clone(), last: self.last.clone() }
    }

    /// Kills who is left in the group and removes it; returns whether all are known to be gone.
    pub(crate) async fn end(mut self) -> bool {
        let Some(group) = self.group.take() else { return false };
        let last = self.last.clone();
        let end = tokio::task::spawn_blocking(move || end(&group, &last));
        end.await.unwrap_or(false)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(group) = self.group.take() else { return };
        let last = self.last.clone();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || end(&group, &last))),
            Err(_) => drop(end(&group, &last)),
        }
    }
}

impl Asked {
    pub(crate) fn tally(&self, of: fn(&Group) -> Tally) -> Tally {
        let now = self.group.as_ref().map(of).unwrap_or_default();
        // Written before the group goes, so that what was read after that is not believed.
        self.last.get().copied().unwrap_or(now)
    }
}

fn end(group: &Group, last: &OnceLock<Tally>) -> bool {
    let emptied = group.empty();
    let _ = last.set(group.tally());
    if let Err(error) = emptied
        .as_ref()
        .map_err(ToString::to_string)
        .and_then(|()| group.remove().map_err(|error| error.to_string()))
    {
        let path = group.directories().next().map(|path| path.display().to_string());
        tracing::warn!(path, error, "could not remove a container's cgroup");
    }
    emptied.is_ok()
}
