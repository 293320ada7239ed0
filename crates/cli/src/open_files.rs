//! How many files this process may have open.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What macOS allows every process, whatever it says is the limit.
const DARWIN_LIMIT: u64 = 10_240;

/// Raises the limit to what the system allows: a gateway has a socket for every worker and client,
/// and the usual limit of 1,024 is meant for programs that have few.
pub(crate) fn allow_many() {
    let Ok((now, most)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let raised = [most, most.min(DARWIN_LIMIT)]
        .into_iter()
        .filter(|limit| *limit > now)
        .any(|limit| setrlimit(Resource::RLIMIT_NOFILE, limit, most).is_ok());
    tracing::debug!(now, most, raised, "limit of open files");
}
