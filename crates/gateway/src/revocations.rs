//! Telling open streams that their token is not good any more.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use metal9_tasks::CancellationToken;
use metal9_types::TokenId;

/// One entry per token that was used since the gateway started and is still there.
#[derive(Debug, Default)]
pub(crate) struct Revocations {
    used: Mutex<HashMap<TokenId, CancellationToken>>,
}

impl Revocations {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<TokenId, CancellationToken>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cancelled when the token is revoked after this call.
    pub(crate) fn watch(&self, token: TokenId) -> CancellationToken {
        self.lock().entry(token).or_default().clone()
    }

    /// Ends everything that was begun with the token. To be called when the change is on disk.
    pub(crate) fn revoke(&self, token: TokenId) {
        if let Some(streams) = self.lock().remove(&token) {
            streams.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revocation_reaches_what_was_begun_before_it_and_nothing_else() {
        let revocations = Revocations::default();
        let (ours, other) = (TokenId(uuid::Uuid::from_u128(1)), TokenId(uuid::Uuid::from_u128(2)));
        let (before, theirs) = (revocations.watch(ours), revocations.watch(other));
        revocations.revoke(ours);
        assert!(before.is_cancelled());
        assert!(!theirs.is_cancelled());
        assert!(!revocations.watch(ours).is_cancelled(), "a token can be switched on again");
    }
}
