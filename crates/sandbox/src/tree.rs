//! The processes below a supervisor.
//!
//! Two ways to find them: where the kernel lists the children of a process ([`linux`]) the tree is
//! walked from its root; elsewhere all processes of the machine are listed and those that belong
//! are picked out ([`snapshot`]).

use std::io;

mod ending;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as system;
#[cfg(not(target_os = "linux"))]
mod macos;
#[cfg(not(target_os = "linux"))]
use macos as system;
mod marks;
mod snapshot;

pub use ending::end_found;
#[cfg(not(target_os = "linux"))]
pub use macos::end_strays;
pub use marks::names;
pub(crate) use system::memory;

use std::path::PathBuf;

use self::snapshot::Members;

/// One process for all time: its id, and when it started in case the id is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    pub(crate) pid: i32,
    /// In the system's own unit, counted from the system's own start.
    pub(crate) started: u64,
}

/// A process as it was when looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) identity: Identity,
    /// It has ended, and only its parent has yet to take notice.
    pub(crate) dead: bool,
}

/// Whether a process still runs: neither gone nor dead, and not another one with its old id.
pub(crate) fn alive(identity: Identity) -> bool {
    system::look(identity.pid).is_some_and(|seen| seen.identity == identity && !seen.dead)
}

/// Finds the descendants of one process, its root.
#[derive(Debug)]
pub(crate) struct Tree {
    root: i32,
    /// A directory that is named in the environment of every process of the job, by which those
    /// that nobody has seen starting are known where orphans are not the root's.
    mark: Option<PathBuf>,
    /// Who belonged at the last look, where looking means listing all processes.
    members: Option<Members>,
}

impl Tree {
    pub(crate) fn new(root: i32, mark: Option<PathBuf>) -> Self {
        let members = (!system::lists_children()).then(Members::default);
        Self { root, mark, members }
    }

    /// Shows every descendant of the root to `visit`, parents before their children are looked up.
    ///
    /// Returns whether the look was complete: if not, a process came or went meanwhile and another
    /// may have been missed.
    pub(crate) fn walk(&mut self, visit: &mut dyn FnMut(Seen)) -> io::Result<bool> {
        let Some(members) = &mut self.members else {
            return system::walk(self.root, visit);
        };
        for seen in members.update(self.root, &system::all(self.mark.as_deref())?) {
            visit(seen);
        }
        Ok(true)
    }

    /// Looks at the tree so that its members are known if their parents end before the next look.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn refresh(&mut self) {
        // A failed look is as good as none; the next one may succeed.
        let _ = self.walk(&mut |_| ());
    }
}
