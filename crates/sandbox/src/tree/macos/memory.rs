//! How much memory a process uses.

use std::io;
use std::mem;

/// The physical footprint in bytes, which includes Metal buffers; 0 if there is no such process.
pub(crate) fn quick(pid: i32) -> io::Result<u64> {
    let mut usage = mem::MaybeUninit::<libc::rusage_info_v4>::zeroed();
    // SAFETY: the buffer is one `rusage_info_v4`, which is what this flavor fills.
    let result = unsafe {
        libc::proc_pid_rusage(
            pid,
            libc::RUSAGE_INFO_V4,
            usage.as_mut_ptr().cast::<libc::rusage_info_t>(),
        )
    };
    if result != 0 {
        let error = io::Error::last_os_error();
        return if error.raw_os_error() == Some(libc::ESRCH) { Ok(0) } else { Err(error) };
    }
    // SAFETY: it is plain numbers that were zeroed and then filled whole.
    Ok(unsafe { usage.assume_init() }.ri_phys_footprint)
}

/// The same as [`quick`]: the footprint counts no page twice.
pub(crate) fn exact(pid: i32) -> io::Result<u64> {
    quick(pid)
}
