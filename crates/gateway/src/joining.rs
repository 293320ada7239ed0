//! How machines come to join: tokens, and the command that uses one.

use std::time::Duration;

use uuid::Uuid;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::shared::Shared;
use crate::timestamps::{self, UnixMicros};

/// How long a token can be used where nobody says.
pub(crate) const DEFAULT_TTL_SECONDS: u64 = 30 * 60;
/// The longest that may be asked for.
pub(crate) const MAX_TTL_SECONDS: u64 = 30 * 24 * 3600;
/// The pool that is there without anybody making it.
pub(crate) const DEFAULT_POOL: &str = "default";

/// A join token that was just made, with all that a machine needs to use it.
#[derive(Debug)]
pub(crate) struct Invitation {
    pub(crate) id: Uuid,
    /// The token itself, told this once.
    pub(crate) token: String,
    /// Where workers join.
    pub(crate) gateway: String,
    /// Whether the gateway speaks TLS.
    pub(crate) tls: bool,
    /// The fingerprint of the gateway's key, if that is its own.
    pub(crate) fingerprint: Option<String>,
    pub(crate) expires_at: UnixMicros,
    pool: String,
}

impl Invitation {
    /// What a person runs on the machine, in a shell.
    pub(crate) fn command(&self) -> String {
        // With somebody else's certificate the system's authorities say who the gateway is.
        let trusted = self.tls && self.fingerprint.is_none();
        let scheme = if trusted { "https://" } else { "" };
        let mut join = format!(
            "metal9 worker join {scheme}{} --token {} --pool {}",
            self.gateway,
            self.token,
            quoted(&self.pool)
        );
        if let Some(fingerprint) = &self.fingerprint {
            join.push_str(&format!(" --fingerprint {fingerprint}"));
        }
        format!("{join} && metal9 worker run")
    }
}

/// Makes a join token for a pool: for one machine, or for any number of them.
pub(crate) async fn invite(
    shared: &Shared,
    caller: &Caller,
    pool: &str,
    ttl_seconds: u64,
    single_use: bool,
) -> Result<Invitation, ApiError> {
    // Every workspace's jobs run on every worker, so nobody else may say which machines those are.
    shared.require_operator(caller).await?;
    if pool.is_empty() || ttl_seconds == 0 || ttl_seconds > MAX_TTL_SECONDS {
        let text = format!("a join token needs a pool and 1 to {MAX_TTL_SECONDS} seconds to live");
        return Err(ApiError::Invalid(text));
    }
    shared.disk.room_for("the join token", 0)?;
    let ttl = Duration::from_secs(ttl_seconds);
    let lives = i64::try_from(ttl.as_micros()).unwrap_or(i64::MAX);
    let expires_at = timestamps::now().saturating_add(lives);
    let by = shared.store.by(&caller.actor);
    let (id, token) = by.create_join_token(caller.workspace, pool, ttl, single_use).await?;
    let certificates = shared.certificates.as_ref();
    // A certificate of somebody else's is renewed with keys that nobody knows yet.
    let own = certificates.filter(|certificates| certificates.authority().is_some());
    let fingerprint = own.and_then(|own| own.fingerprint()).map(|print| print.to_string());
    Ok(Invitation {
        id,
        token,
        gateway: shared.grpc_authority(),
        tls: certificates.is_some(),
        fingerprint,
        expires_at,
        pool: pool.to_owned(),
    })
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '/');
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invitation(tls: bool, fingerprint: Option<&str>, pool: &str) -> String {
        let (token, gateway) = ("t".to_owned(), "h:1".to_owned());
        let (pool, fingerprint) = (pool.to_owned(), fingerprint.map(str::to_owned));
        let id = Uuid::nil();
        Invitation { id, token, gateway, tls, fingerprint, expires_at: 0, pool }.command()
    }

    #[test]
    fn the_command_says_how_the_gateway_is_known() {
        let said = |address: &str, rest: &str| {
            format!("metal9 worker join {address} --token t --pool p{rest} && metal9 worker run")
        };
        assert_eq!(invitation(false, None, "p"), said("h:1", ""));
        assert_eq!(invitation(true, None, "p"), said("https://h:1", ""));
        let own = invitation(true, Some("sha256:00"), "p");
        assert_eq!(own, said("h:1", " --fingerprint sha256:00"));
    }

    #[test]
    fn a_shell_takes_a_pools_name_as_one_word() {
        assert_eq!(quoted("a-b_c.1"), "a-b_c.1");
        assert_eq!(quoted("a; rm -rf ~"), "'a; rm -rf ~'");
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(quoted(""), "''");
    }
}
