//! Calls into macOS' own library that nobody else binds.

use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_short};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::ptr;

use nix::unistd::{Uid, getuid, seteuid};

use crate::account::Account;

/// The kernel kills a process that is over its limit, be it in use or not (`spawn_private.h`, XNU).
const ACTIVE_FATAL: c_short = 0x04;
const INACTIVE_FATAL: c_short = 0x08;

/// The usual priority among those that are killed when memory runs out; 0 would be the first to go.
const USUAL_PRIORITY: c_int = -1;

unsafe extern "C" {
    /// `sandbox.h`. `flags` of 0 means that `profile` is the profile itself.
    fn sandbox_init(profile: *const c_char, flags: u64, error: *mut *mut c_char) -> c_int;
    fn sandbox_free_error(error: *mut c_char);
    /// `spawn_private.h`, exported since macOS 10.11. Limits in MiB.
    fn posix_spawnattr_setjetsam_ext(
        attributes: *mut libc::posix_spawnattr_t,
        flags: c_short,
        priority: c_int,
        active: c_int,
        inactive: c_int,
    ) -> c_int;
}

/// Makes this process one that works for somebody who waits.
pub(super) fn leave_background() -> io::Result<()> {
    // SAFETY: plain numbers in, a number out.
    let done = unsafe { libc::setpriority(libc::PRIO_DARWIN_PROCESS, 0, 0) };
    if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Limits how many processes the account of this one may have.
pub(super) fn limit_processes(most: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
    // SAFETY: the limit lives through the call, and nothing is written to it.
    let done = unsafe { libc::setrlimit(libc::RLIMIT_NPROC, &raw const limit) };
    if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Enters the sandbox, for good.
pub(super) fn sandbox(profile: &CStr) -> io::Result<()> {
    let mut error = ptr::null_mut();
    // SAFETY: the profile ends with a zero, and `error` is where a text may be put; both live through
    // the call.
    if unsafe { sandbox_init(profile.as_ptr(), 0, &raw mut error) } == 0 {
        return Ok(());
    }
    if error.is_null() {
        return Err(io::Error::from_raw_os_error(libc::EPERM));
    }
    // SAFETY: the system has put a text there that ends with a zero, and frees it where it is told to.
    let text = unsafe { CStr::from_ptr(error) }.to_string_lossy().into_owned();
    // SAFETY: it is the text from above, and nobody uses it any more.
    unsafe { sandbox_free_error(error) };
    Err(io::Error::other(text))
}

/// What the program is started with.
pub(super) struct Attributes(libc::posix_spawnattr_t);

impl Attributes {
    /// `memory_mib` is the most that its footprint may be.
    pub(super) fn new(memory_mib: Option<u32>) -> io::Result<Self> {
        let mut raw = MaybeUninit::uninit();
        // SAFETY: the system writes an attribute object there, which is a pointer.
        check(unsafe { libc::posix_spawnattr_init(raw.as_mut_ptr()) })?;
        // SAFETY: it has, since there was no error.
        let mut attributes = Self(unsafe { raw.assume_init() });
        let flags = c_short::try_from(libc::POSIX_SPAWN_SETEXEC).map_err(io::Error::other)?;
        // SAFETY: the object is initialised and lives through the call.
        check(unsafe { libc::posix_spawnattr_setflags(&raw mut attributes.0, flags) })?;
        if let Some(most) = memory_mib {
            let most = c_int::try_from(most).unwrap_or(c_int::MAX);
            let fatal = ACTIVE_FATAL | INACTIVE_FATAL;
            // SAFETY: as above.
            check(unsafe {
                posix_spawnattr_setjetsam_ext(
                    &raw mut attributes.0,
                    fatal,
                    USUAL_PRIORITY,
                    most,
                    most,
                )
            })?;
        }
        Ok(attributes)
    }

    /// Becomes the program; returns only the error.
    pub(super) fn exec(
        &self,
        program: &CStr,
        arguments: &[CString],
        environment: &[CString],
    ) -> io::Error {
        let list = |texts: &[CString]| -> Vec<*mut c_char> {
            texts.iter().map(|text| text.as_ptr().cast_mut()).chain([ptr::null_mut()]).collect()
        };
        let (arguments, environment) = (list(arguments), list(environment));
        // SAFETY: with this object's flag the call replaces the process, as `execve` does. The path
        // and the texts end with a zero, the lists with a null; all live through the call, and the
        // system does not write to them.
        let failed = unsafe {
            libc::posix_spawn(
                ptr::null_mut(),
                program.as_ptr(),
                ptr::null(),
                &raw const self.0,
                arguments.as_ptr(),
                environment.as_ptr(),
            )
        };
        io::Error::from_raw_os_error(failed)
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: it was initialised, and nobody uses it any more.
        unsafe { libc::posix_spawnattr_destroy(&raw mut self.0) };
    }
}

fn check(error: c_int) -> io::Result<()> {
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}

/// Does something with the rights of an account, as far as they depend on the effective user.
pub(super) fn as_account<T>(account: Option<Account>, action: impl FnOnce() -> T) -> io::Result<T> {
    let Some(account) = account else { return Ok(action()) };
    let own = getuid();
    seteuid(Uid::from_raw(account.uid))?;
    let done = action();
    seteuid(own)?;
    Ok(done)
}

/// The directory of caches of the effective user, which the system makes if there is none.
pub(super) fn cache_directory() -> Option<PathBuf> {
    let mut buffer = vec![0_u8; libc::PATH_MAX as usize];
    // SAFETY: the buffer is as long as is said and lives through the call.
    let length = unsafe {
        libc::confstr(
            libc::_CS_DARWIN_USER_CACHE_DIR,
            buffer.as_mut_ptr().cast::<c_char>(),
            buffer.len(),
        )
    };
    if length == 0 || length > buffer.len() {
        return None;
    }
    let path = CStr::from_bytes_until_nul(&buffer).ok()?;
    Some(PathBuf::from(OsStr::from_bytes(path.to_bytes())))
}
