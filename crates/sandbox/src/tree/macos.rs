//! Asks libproc.
//!
//! There is no subreaper here: a process whose parent ends becomes a child of `launchd`, and is
//! known as a member of the tree only by its process group, because it was seen before, or by the
//! directory that is named in its environment.

use std::io;
use std::mem;
use std::path::Path;

use libc::{c_int, c_void};

use super::snapshot::Entry;
use super::{Identity, Seen, marks};

pub(crate) mod memory;
mod strays;

pub use strays::end_strays;

/// The process that is the parent of orphans.
const LAUNCHD: i32 = 1;

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

/// Every process of the machine that this user may look at. Orphans that name `mark` are marked.
pub(super) fn all(mark: Option<&Path>) -> io::Result<Vec<Entry>> {
    let mut all: Vec<Entry> = pids()?.into_iter().filter_map(entry).collect();
    if let Some(mark) = mark {
        for entry in all.iter_mut().filter(|entry| entry.parent == LAUNCHD) {
            entry.marked = is_marked(entry.seen.identity.pid, mark);
        }
    }
    Ok(all)
}

/// Whether a process was started with a variable that names `directory` or a path below.
fn is_marked(pid: c_int, directory: &Path) -> bool {
    let arguments = arguments(pid).unwrap_or_default();
    marks::environment(&arguments).is_some_and(|environment| marks::names(environment, directory))
}

/// The arguments and the environment of a process of this user.
fn arguments(pid: c_int) -> Option<Vec<u8>> {
    let mut name = [libc::CTL_KERN, libc::KERN_PROCARGS2, pid];
    let mut length = 0;
    let count = libc::c_uint::try_from(name.len()).ok()?;
    let null = std::ptr::null_mut();
    // SAFETY: three numbers, and without a buffer the kernel only says how long it would have to be.
    let asked = unsafe { libc::sysctl(name.as_mut_ptr(), count, null, &raw mut length, null, 0) };
    if asked != 0 {
        return None;
    }
    let mut buffer = vec![0_u8; length];
    // SAFETY: three numbers, and a buffer that is as long as `length` says and lives through the call.
    let told = unsafe {
        libc::sysctl(
            name.as_mut_ptr(),
            count,
            buffer.as_mut_ptr().cast::<c_void>(),
            &raw mut length,
            null,
            0,
        )
    };
    buffer.truncate(length);
    (told == 0).then_some(buffer)
}

fn pids() -> io::Result<Vec<c_int>> {
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
            return Ok(pids);
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
    Some(Entry { seen, parent, group, marked: false })
}
