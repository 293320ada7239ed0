//! Giving up root's rights, also those that a program could get back.

use std::io;

/// The header of `capset`: version 3, this process.
const HEADER: [u32; 2] = [0x2008_0522, 0];

/// More than the kernel has.
const MOST: libc::c_ulong = 64;

/// Empties every set of capabilities: a job that is root has the rights of a user who owns root's
/// files, and no program it executes has more.
pub(super) fn give_up() -> io::Result<()> {
    for capability in 0..MOST {
        // SAFETY: plain numbers in, a number out.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) } == -1 {
            // No further capability, or not the right to give them up, which only somebody without
            // any lacks.
            break;
        }
    }
    // SAFETY: plain numbers in, a number out. Kernels before ambient capabilities refuse it.
    let _ = unsafe {
        libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong, 0, 0, 0)
    };
    let (header, none) = (HEADER, [0_u32; 6]);
    // SAFETY: the kernel reads a header of two numbers and, in this version, two sets of three.
    let done = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) };
    if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
