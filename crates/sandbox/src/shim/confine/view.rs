//! A file system of the job's own: an empty one with the directories of the machine that it may use.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, umask};
use nix::unistd::pivot_root;

use super::Failed;
use crate::isolation::{Access, FileRule, Step};

/// Where the new root is mounted while it is made ready: any directory that every machine has.
const BASE: &str = "/tmp";

/// Where the machine's own root is while the new one is made ready.
const OLD: &str = "/.old";

/// Empty directories that programs expect.
const EMPTY: &[&str] = &["/run", "/var", "/home", "/root", "/mnt", "/dev/shm"];

const NOTHING: Option<&str> = None;

/// Leaves the machine's file system for one that has only `files`, all read-only but what may be
/// written.
pub(super) fn enter(files: &[FileRule], hidden_processes: bool) -> Result<(), Failed> {
    let failed = |error| (Step::View, error);
    let mask = umask(Mode::empty());
    new_root().map_err(failed)?;
    for rule in files {
        if rule.path == Path::new("/proc") && hidden_processes {
            processes(&rule.path).map_err(|error| (Step::Processes, error))?;
        } else if rule.access != Access::Device {
            place(rule).map_err(failed)?;
        }
    }
    finish(files).map_err(failed)?;
    umask(mask);
    Ok(())
}

/// Makes an empty root, in which the old one is at [`OLD`].
fn new_root() -> io::Result<()> {
    // Nothing that happens in here reaches the machine, and the other way round.
    mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOTHING)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), BASE, Some("tmpfs"), flags, Some("mode=0755,size=1m"))?;
    std::env::set_current_dir(BASE)?;
    fs::create_dir(&OLD[1..])?;
    pivot_root(".", &OLD[1..])?;
    std::env::set_current_dir("/")?;
    EMPTY.iter().try_for_each(fs::create_dir_all)
}

fn old(path: &Path) -> PathBuf {
    let mut old = PathBuf::from(OLD);
    old.push(path.strip_prefix("/").unwrap_or(path));
    old
}

/// Puts one path where the job finds it.
fn place(FileRule { path, source, access }: &FileRule) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match access {
        Access::Link(target) => symlink(target, path),
        Access::Hidden => {
            fs::create_dir_all(path)?;
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
            Ok(mount(Some("tmpfs"), path, Some("tmpfs"), flags, Some("mode=0755,size=1m"))?)
        }
        Access::Read | Access::Execute | Access::Write | Access::Device => {
            let source = old(source);
            let Ok(kind) = fs::metadata(&source) else {
                // It has gone since the rules were made.
                return Ok(());
            };
            if kind.is_dir() {
                fs::create_dir_all(path)?;
            } else if !path.exists() {
                File::create(path)?;
            }
            let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
            Ok(mount(Some(&source), path, NOTHING, flags, NOTHING)?)
        }
    }
}

/// A `/proc` that shows a process only to those who may trace it: with Landlock, only its own job.
fn processes(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    Ok(mount(Some("proc"), path, Some("proc"), flags, Some("hidepid=4"))?)
}

/// Makes everything read-only but what may be written, and lets go of the old root.
fn finish(files: &[FileRule]) -> io::Result<()> {
    let shared = Path::new("/dev/shm");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), shared, Some("tmpfs"), flags, Some("mode=1777"))?;
    for rule in files.iter().filter(|rule| rule.access == Access::Device) {
        place(rule)?;
    }
    umount2(OLD, MntFlags::MNT_DETACH)?;
    fs::remove_dir(OLD)?;
    fs::set_permissions("/", Permissions::from_mode(0o755))?;

    let all = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID;
    set_attributes(Path::new("/"), libc::AT_RECURSIVE, all, 0)?;
    let writable = files.iter().filter(|rule| rule.access == Access::Write);
    let writable = writable.map(|rule| rule.path.as_path()).chain([shared]);
    for path in writable.filter(|path| path.exists()) {
        set_attributes(path, 0, libc::MOUNT_ATTR_NODEV, libc::MOUNT_ATTR_RDONLY)?;
    }
    Ok(())
}

fn set_attributes(path: &Path, flags: libc::c_int, set: u64, clear: u64) -> io::Result<()> {
    let mut text = path.as_os_str().as_bytes().to_vec();
    text.push(0);
    let attributes =
        libc::mount_attr { attr_set: set, attr_clr: clear, propagation: 0, userns_fd: 0 };
    // SAFETY: a path that ends with a zero and a structure of the size that is told; both live
    // through the call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            text.as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
