//! Asks libproc.
//!
//! There is no subreaper here: a process whose parent ends becomes a child of `launchd`, and is
//! known as a member of the tree only by its process group or because it was seen before.

use std::io;
use std::mem;

use libc::{c_int, c_void};

use super::snapshot::Entry;
use super::{Identity, Seen};

pub(crate) mod memory;

/// libproc tells the parent of a process, not its children.
pub(super) fn lists_children() -> bool {
    false
}

/// The process `pid` as it is now; `None` if there is none, or it belongs to somebody else.
pub(super) fn look(pid: i32) -> Option<Seen> {
    entry(pid).map(|entry| entry.seen)
}

/// Never used, since [`lists_children`] is false.
pub(super) fn walk(_root: i32, _visit: &mut dyn FnMut(Seen)) -> io::Result<bool> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Every process of the machine that this user may look at.
pub(super) fn all() -> io::Result<Vec<Entry>> {
    let mut pids: Vec<c_int> = Vec::new();
    loop {
        // SAFETY: a null buffer of size 0 asks only for the number of processes.
        let count = unsafe { libc::proc_listallpids(std::ptr::null_mut(), 0) };
        // Room for those that start between the two calls.
        let room = usize::try_from(count).map_err(|_| io::Error::last_os_error())? + 64;
        pids.resize(room, 0);
        let bytes = c_int::try_from(room * mem::size_of::<c_int>()).map_err(io::Error::other)?;
        // SAFETY: the buffer is `bytes` long and lives through the call.
        let count = unsafe { libc::proc_listallpids(pids.as_mut_ptr().cast::<c_void>(), bytes) };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        if count < room {
            pids.truncate(count);
            return Ok(pids.into_iter().filter_map(entry).collect());
        }
    }
}

fn entry(pid: c_int) -> Option<Entry> {
    let mut info = mem::MaybeUninit::<libc::proc_bsdinfo>::zeroed();
    let size = c_int::try_from(mem::size_of::<libc::proc_bsdinfo>()).ok()?;
    // SAFETY: the buffer is one `proc_bsdinfo`, which is what this flavor fills, `size` long.
    let filled = unsafe {
        libc::proc_pidinfo(
            pid,
            libc::PROC_PIDTBSDINFO,
            // Zombies are listed too, so that they are seen to be dead.
            1,
            info.as_mut_ptr().cast::<c_void>(),
            size,
        )
    };
    if filled != size {
        return None;
    }
    // SAFETY: it is plain numbers that were zeroed and then filled whole.
    let info = unsafe { info.assume_init() };
    let started = info.pbi_start_tvsec.wrapping_mul(1_000_000).wrapping_add(info.pbi_start_tvusec);
    let seen = Seen { identity: Identity { pid, started }, dead: info.pbi_status == libc::SZOMB };
    let (parent, group) = (info.pbi_ppid.cast_signed(), info.pbi_pgid.cast_signed());
    Some(Entry { seen, parent, group })
}
