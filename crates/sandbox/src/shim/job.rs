//! What the supervisor knows about its job.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid};

use super::receive::Control;
use crate::oci::Engine;
use crate::tree::{Identity, Tree};
use crate::wire::Reply;

/// The program and everything it started.
pub(super) struct Job {
    pub(super) program: i32,
    pub(super) tree: Tree,
    /// Who is spared when the rest is reaped.
    pub(super) marked: HashSet<Identity>,
    /// How the program ended, once it has.
    exit: Option<Reply>,
    exit_told: bool,
    /// What made the container that it is in, if it is in one.
    pub(super) engine: Option<Engine>,
}

/// No process of any machine, where there is no program.
#[cfg(target_os = "linux")]
pub(super) const NOBODY: i32 = i32::MAX;

/// What the first process of a container adds to the number of the signal that ended the program.
const BY_SIGNAL: i32 = 128;

/// The highest number of a signal.
const LAST_SIGNAL: i32 = 64;

impl Job {
    /// `mark` as [`crate::Launch::mark`] says.
    pub(super) fn new(program: i32, mark: Option<PathBuf>, engine: Option<Engine>) -> Self {
        let tree = Tree::new(getpid().as_raw(), mark);
        Self { program, tree, marked: HashSet::new(), exit: None, exit_told: false, engine }
    }

    /// Whether the program has ended, as far as is known.
    pub(super) fn ended(&self) -> bool {
        self.exit.is_some()
    }

    /// Takes notice of every child that has ended; returns whether no child is left at all.
    pub(super) fn collect(&mut self) -> bool {
        loop {
            let mut status = 0;
            // Not nix's `waitpid`, which loses the end of a process by a real-time signal.
            // SAFETY: the kernel writes one number to `status`, which lives through the call.
            match unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) } {
                0 => return false,
                -1 => match Errno::last() {
                    Errno::EINTR => {}
                    error => return error == Errno::ECHILD,
                },
                // An orphan may get the program's id once the program is gone.
                pid if pid == self.program && self.exit.is_none() => {
                    self.exit = ended(status).map(|exit| self.seen_from_inside(exit));
                }
                _ => {}
            }
        }
    }

    /// How the program ended that a container's first process has started: a signal is a code there.
    fn seen_from_inside(&self, exit: Reply) -> Reply {
        match exit {
            Reply::Exited(code)
                if self.engine.is_some()
                    && (BY_SIGNAL + 1..=BY_SIGNAL + LAST_SIGNAL).contains(&code) =>
            {
                Reply::Signalled(code - BY_SIGNAL)
            }
            exit => exit,
        }
    }

    /// Tells the worker once how the program ended, if it has.
    pub(super) fn tell_exit(&mut self, control: &Control) {
        if let (Some(exit), false) = (self.exit, self.exit_told) {
            // A worker that is gone needs no telling.
            let _ = control.send(exit);
            self.exit_told = true;
        }
    }

    /// Remembers the processes that exist now.
    pub(super) fn mark(&mut self) -> io::Result<()> {
        let mut marked = HashSet::new();
        for _ in 0..MARK_LOOKS {
            let complete = self.tree.walk(&mut |seen| {
                marked.insert(seen.identity);
            })?;
            if complete {
                break;
            }
        }
        self.marked = marked;
        Ok(())
    }

    /// Sends SIGTERM to the program.
    pub(super) fn terminate(&self) -> io::Result<()> {
        if self.ended() {
            return Err(Errno::ESRCH.into());
        }
        Ok(kill(Pid::from_raw(self.program), Signal::SIGTERM)?)
    }
}

/// How often a mark looks again because processes came and went.
const MARK_LOOKS: u32 = 10;

/// How a process ended, by its wait status; `None` if it has not.
fn ended(status: i32) -> Option<Reply> {
    if libc::WIFEXITED(status) {
        Some(Reply::Exited(libc::WEXITSTATUS(status)))
    } else if libc::WIFSIGNALED(status) {
        Some(Reply::Signalled(libc::WTERMSIG(status)))
    } else {
        None
    }
}
