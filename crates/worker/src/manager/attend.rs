//! What the manager looks at once in a while for the machine's sake: whether there is work, what it
//! is, and whether the machine has slept.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::awake::Keeper;
use crate::interrupted::{Boot, Note};
use crate::manager::Manager;
use crate::slept::{self, Sleeper};

/// How often to look while there is work.
pub(super) const EVERY: Duration = Duration::from_secs(1);

/// What the manager does for the machine.
#[derive(Debug, Default)]
pub(crate) struct Attendant {
    keeper: Keeper,
    sleeper: Sleeper,
    /// Where the tasks that run are noted.
    running: Option<watch::Sender<Vec<String>>>,
}

impl Attendant {
    /// One that keeps the machine awake by `keeper`, and notes what runs in a file.
    pub(crate) fn new(keeper: Keeper, note: PathBuf, boot: Boot) -> Self {
        let (running, mut changes) = watch::channel(Vec::new());
        metal9_tasks::spawn_infallible("note what runs", async move {
            while changes.changed().await.is_ok() {
                let note_now = Note::new(boot.clone(), changes.borrow_and_update().clone());
                let path = note.clone();
                metal9_faults::point("worker-disk").await;
                let kept = tokio::task::spawn_blocking(move || note_now.keep(&path)).await;
                if let Ok(Err(error)) = kept {
                    tracing::warn!(%error, "could not note which jobs run");
                }
            }
        });
        Self { keeper, sleeper: Sleeper::default(), running: Some(running) }
    }

    /// Whether there is something to look at without work.
    fn is_engaged(&self) -> bool {
        let noted = self.running.as_ref().is_some_and(|running| !running.borrow().is_empty());
        self.keeper.is_held() || noted
    }
}

impl Manager {
    /// Whether [`Manager::attend`] is to be called.
    pub(super) fn needs_attendance(&self) -> bool {
        self.is_busy() || self.attendant.is_engaged()
    }

    fn is_busy(&self) -> bool {
        !self.builds.is_empty() || self.containers.values().any(|entry| entry.current.is_some())
    }

    /// Keeps the machine awake while there is work, and notes what it is.
    pub(super) fn attend(&mut self) {
        let busy = self.is_busy();
        self.attendant.keeper.look(Instant::now().into_std(), busy);
        let Some(running) = &self.attendant.running else { return };
        let current = self.containers.values().filter_map(|entry| entry.current);
        let mut tasks: Vec<String> = current
            .filter_map(|attempt| self.attempts.get(&attempt).map(|it| it.task_id.clone()))
            .collect();
        tasks.sort_unstable();
        running.send_if_modified(|noted| {
            let changed = *noted != tasks;
            *noted = tasks;
            changed
        });
    }

    /// Says that the machine has slept, which explains what comes next: the gateway may have taken
    /// the worker for lost, and the connection has to be made again.
    pub(super) fn look_for_sleep(&mut self) {
        if let Some(slept) = self.attendant.sleeper.look(slept::asleep()) {
            tracing::info!(?slept, running = self.is_busy(), "the machine has slept");
        }
    }
}
