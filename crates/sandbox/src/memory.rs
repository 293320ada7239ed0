//! How much memory a job uses.

use std::io;
use std::path::Path;

use crate::tree::{Tree, memory};

/// See [`crate::Process::memory`].
pub(crate) fn quick(supervisor: u32, mark: Option<&Path>) -> io::Result<u64> {
    sum(supervisor, mark, memory::quick)
}

/// See [`crate::Process::memory_exact`].
pub(crate) fn exact(supervisor: u32, mark: Option<&Path>) -> io::Result<u64> {
    sum(supervisor, mark, memory::exact)
}

fn sum(supervisor: u32, mark: Option<&Path>, of: fn(i32) -> io::Result<u64>) -> io::Result<u64> {
    let mut total = Ok(0);
    // A process missed because another one ended during the walk is counted the next time.
    Tree::new(supervisor.cast_signed(), mark.map(Path::to_owned)).walk(&mut |seen| {
        if let (Ok(sum), false) = (&mut total, seen.dead) {
            match of(seen.identity.pid) {
                Ok(bytes) => *sum += bytes,
                Err(error) => total = Err(error),
            }
        }
    })?;
    total
}
