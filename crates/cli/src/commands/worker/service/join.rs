//! Joining on the way to a service, and giving the state to who the service runs as.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use metal9_service::{Place, Scope};
use metal9_worker::{IdentityError, JoinOptions};
use nix::unistd::{Uid, User, chown};

use crate::commands::worker::ask_to_join;
use crate::failure::Failure;
use crate::talk;

/// How to join, where that was not done before.
#[derive(Debug, Default, clap::Args)]
#[group(skip)]
pub(super) struct Arguments {
    /// The gateway to join first, if this machine has not
    #[arg(long, value_name = "HOST:PORT", requires = "token")]
    gateway: Option<String>,
    /// The join token
    #[arg(long, allow_hyphen_values = true, requires = "gateway")]
    token: Option<String>,
    /// The fingerprint of the gateway's key, for TLS with a certificate of its own
    #[arg(long, value_name = "SHA256", requires = "gateway")]
    fingerprint: Option<String>,
    /// The pool to join [default: the token's]
    #[arg(long, requires = "gateway")]
    pool: Option<String>,
}

/// Makes sure that the worker whose state is in `state` has joined.
///
/// # Errors
///
/// If it has not and was not told how, or the gateway refuses.
pub(super) fn ensure(arguments: Arguments, place: &Place, state: &Path) -> Result<(), Failure> {
    let (Some(gateway), Some(token)) = (arguments.gateway, arguments.token) else {
        return metal9_worker::joined(state).map(drop).map_err(|error| {
            let new = matches!(error, IdentityError::NotJoined(_));
            let failure = Failure::usage(error);
            match new {
                true => failure.hint(
                    "give --gateway HOST:PORT and --token TOKEN, which `metal9 token join` prints \
                     on the gateway",
                ),
                false => failure,
            }
        });
    };
    let (fingerprint, pool) = (arguments.fingerprint, arguments.pool.unwrap_or_default());
    let state_dir = state.to_owned();
    let options = JoinOptions { gateway, fingerprint, token, pool, state_dir };
    let created = first_missing(state);
    let joined = ask_to_join(&options)?;
    talk::say(format_args!("joined pool {} as worker {}", joined.pool, joined.worker_id));
    if place.scope == Scope::System {
        hand_over(place, state, created.as_deref())?;
    }
    Ok(())
}

/// The uppermost directory that joining will make.
fn first_missing(state: &Path) -> Option<PathBuf> {
    let missing = state.ancestors().take_while(|directory| !directory.exists());
    missing.last().map(Path::to_owned)
}

/// Gives what root has made to the account that the worker runs as.
fn hand_over(place: &Place, state: &Path, created: Option<&Path>) -> Result<(), Failure> {
    let uid = Uid::from_raw(place.account.uid);
    if uid.is_root() {
        return Ok(());
    }
    let user = User::from_uid(uid).map_err(Failure::ours)?;
    let user = user.ok_or_else(|| Failure::ours(anyhow!("account `{}` is gone", uid)))?;
    let mut paths = vec![state.join("worker.json")];
    let top = created.unwrap_or(state);
    paths.extend(state.ancestors().take_while(|it| it.starts_with(top)).map(Path::to_owned));
    for path in paths {
        chown(&path, Some(user.uid), Some(user.gid))
            .with_context(|| format!("cannot give `{}` to `{}`", path.display(), user.name))
            .map_err(Failure::request)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_will_be_made_is_known_before() {
        let root = tempfile::tempdir().unwrap();
        let state = root.path().join("a/b/c");
        assert_eq!(first_missing(&state), Some(root.path().join("a")));
        std::fs::create_dir_all(&state).unwrap();
        assert_eq!(first_missing(&state), None);
    }
}
