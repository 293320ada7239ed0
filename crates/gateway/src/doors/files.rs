//! How many connections the process can have at all.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Open files that are not connections: the database, logs, objects.
const OTHERS: u64 = 512;

/// Raises the limit on open files as far as the system lets us; how many connections then fit, at
/// most `wanted`.
pub(crate) fn raise_limit(wanted: usize) -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return wanted };
    let aim = (wanted as u64).saturating_add(OTHERS).min(hard);
    let now = if soft < aim && setrlimit(Resource::RLIMIT_NOFILE, aim, hard).is_ok() {
        aim
    } else {
        soft
    };
    let fits = usize::try_from(now.saturating_sub(OTHERS).max(now / 2)).unwrap_or(usize::MAX);
    if fits < wanted {
        tracing::info!(
            connections = fits,
            open_files = now,
            "fewer connections than set: the system allows no more open files"
        );
    }
    wanted.min(fits)
}
