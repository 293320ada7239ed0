//! A supervisor for tests: it is told how its program ends and what it uses.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use metal9_sandbox::Exit;
use tokio::sync::watch;

/// Clones are the same supervisor.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scripted {
    exit: Arc<watch::Sender<Option<Exit>>>,
    memory: Arc<(AtomicU64, AtomicU64)>,
    marks: Arc<AtomicU32>,
    reaps: Arc<AtomicU32>,
}

impl Scripted {
    /// The program ends.
    pub(crate) fn end(&self, exit: Exit) {
        self.exit.send_if_modified(|now| {
            let first = now.is_none();
            now.get_or_insert(exit);
            first
        });
    }

    /// Bytes used, by the quick and the exact figure.
    pub(crate) fn use_memory(&self, quick: u64, exact: u64) {
        self.memory.0.store(quick, Ordering::Relaxed);
        self.memory.1.store(exact, Ordering::Relaxed);
    }

    pub(crate) fn memory(&self) -> (u64, u64) {
        (self.memory.0.load(Ordering::Relaxed), self.memory.1.load(Ordering::Relaxed))
    }

    /// How often [`Scripted::mark`] and [`Scripted::reap`] were called.
    pub(crate) fn calls(&self) -> (u32, u32) {
        (self.marks.load(Ordering::Relaxed), self.reaps.load(Ordering::Relaxed))
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.exit.borrow().is_some()
    }

    pub(crate) fn mark(&self) -> io::Result<()> {
        self.marks.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn reap(&self) -> io::Result<u32> {
        self.reaps.fetch_add(1, Ordering::Relaxed);
        Ok(0)
    }

    pub(crate) fn kill(&self) -> io::Result<()> {
        self.end(Exit::Signal(9));
        Ok(())
    }

    pub(crate) async fn wait(&self) -> Exit {
        let mut exit = self.exit.subscribe();
        match exit.wait_for(Option::is_some).await {
            Ok(exit) => exit.unwrap_or(Exit::Lost),
            Err(_) => Exit::Lost,
        }
    }
}
