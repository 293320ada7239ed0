//! The profile of one job for Seatbelt, macOS' own sandbox, in its language (SBPL).
//!
//! Everything is denied that no rule allows, and the last rule that matches counts. Where a rule is
//! from stands beside it: projects that use it in production on Macs, or who measured it. None of it
//! could be tried where it was written; a Mac's worker tries it whenever it starts.

mod files;
mod groups;
mod text;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::isolation::FileRule;

/// What one job may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile<'a> {
    /// Its files beside the system's, as [`super::darwin_file_rules`] orders them.
    pub files: &'a [FileRule],
    /// What it may connect to.
    pub reach: Reach,
    /// Whether it uses the GPU.
    pub gpu: bool,
    /// The directory of caches of the account it runs as (`DARWIN_USER_CACHE_DIR`), in which Metal
    /// keeps compiled shaders; without links. Nothing if it is not known.
    pub caches: Option<&'a Path>,
    /// The major version of the kernel that it is for: 25 is macOS 26.
    pub kernel: u32,
}

/// What a job may connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Everything.
    Everything,
    /// These TCP ports of this machine's loopback interface.
    Ports(Vec<u16>),
    /// Nothing.
    Nothing,
}

/// Why there is no profile.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// A path has characters that cannot be written down in a profile.
    #[error("the path {path:?} cannot be written in a sandbox profile")]
    Path {
        /// The path.
        path: PathBuf,
    },
}

/// The profile of a job.
///
/// # Errors
///
/// If a path cannot be written in it; such a path is never left out instead.
pub fn profile(job: &Profile<'_>) -> Result<String, ProfileError> {
    let mut text = String::from("(version 1)\n(deny default)\n");
    groups::system(&mut text);
    groups::processes(&mut text);
    if job.gpu {
        groups::gpu(&mut text, job)?;
    }
    groups::network(&mut text, &job.reach, job.files)?;
    files::write(&mut text, job.files)?;
    groups::never(&mut text);
    Ok(text)
}

/// Whether every job may read and execute a path because it is the system's.
pub(super) fn is_system(path: &Path) -> bool {
    groups::SYSTEM.iter().any(|directory| path.starts_with(directory))
}

/// Begins a group of rules.
fn heading(text: &mut String, title: &str) {
    let _ = write!(text, "\n;; {title}\n");
}

/// `(VERB OPERATIONS` with one filter a line.
fn rule(text: &mut String, verb: &str, filters: &[String]) {
    let _ = write!(text, "({verb}");
    for filter in filters {
        let _ = write!(text, "\n  {filter}");
    }
    text.push_str(")\n");
}

#[cfg(test)]
mod tests;
