//! The files of a volume: paths that cannot lead out of it, patterns, what has changed.
//!
//! A volume is a directory, and the jobs that write it are not trusted: they may leave symbolic
//! links, pipes and names of any kind there. Every access goes through a handle to the directory
//! that never follows a way out of it. Nothing here waits for anything but the disk, so callers run
//! it on a thread for slow work.

#![forbid(unsafe_code)]

mod error;
mod files;
mod mount_path;
mod path;
mod pattern;
mod scan;
mod staging;

pub use error::VolumeError;
pub use files::{Entry, Files};
pub use mount_path::MountPath;
pub use path::VolumePath;
pub use scan::{Found, Stamp, hex};
pub use staging::{Staged, Staging};
