//! What a running job shows to the gateway: a token that names its task and is signed, so that
//! nothing has to be stored for it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use metal9_types::{TaskId, WorkspaceId};
use metal9_volume::hex;
use sha2::Sha256;
use uuid::Uuid;

const PREFIX: &str = "m9j_";
const LABEL: &[u8] = b"metal9 job token v1";
const ADDRESS_LABEL: &[u8] = b"metal9 signed address v1";

/// Makes and checks job tokens and payload signatures with the gateway's key.
#[derive(Clone)]
pub(crate) struct Signer {
    key: [u8; 32],
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer")
    }
}

impl Signer {
    pub(crate) fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    fn mac(&self, label: &[u8], text: &[u8]) -> Hmac<Sha256> {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&self.key)
            .unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
        mac.update(label);
        mac.update(text);
        mac
    }

    /// A token for a job that runs this task.
    pub(crate) fn job_token(&self, workspace: WorkspaceId, task: TaskId) -> String {
        let mut payload = Vec::with_capacity(64);
        payload.extend_from_slice(workspace.0.as_bytes());
        payload.extend_from_slice(task.0.as_bytes());
        let mac = self.mac(LABEL, &payload).finalize().into_bytes();
        payload.extend_from_slice(&mac);
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(payload))
    }

    /// Whose job shows this token; nothing if it is not a job token or not ours.
    pub(crate) fn verify_job_token(&self, token: &str) -> Option<(WorkspaceId, TaskId)> {
        let bytes = URL_SAFE_NO_PAD.decode(token.strip_prefix(PREFIX)?).ok()?;
        let (payload, mac) = bytes.split_at_checked(32)?;
        self.mac(LABEL, payload).verify_slice(mac).ok()?;
        let workspace = Uuid::from_slice(&payload[..16]).ok()?;
        let task = Uuid::from_slice(&payload[16..]).ok()?;
        Some((WorkspaceId(workspace), TaskId(task)))
    }

    /// The signature of an address, in hex.
    pub(crate) fn sign_address(&self, text: &str) -> String {
        let mac = self.mac(ADDRESS_LABEL, text.as_bytes()).finalize().into_bytes();
        hex(&mac)
    }

    /// Whether a signature is that of an address.
    pub(crate) fn verify_address(&self, text: &str, signature: &str) -> bool {
        let byte = |at: usize| signature.get(at..at + 2).map(|two| u8::from_str_radix(two, 16));
        let bytes: Option<Result<Vec<u8>, _>> = (0..signature.len()).step_by(2).map(byte).collect();
        let Some(Ok(bytes)) = bytes else { return false };
        self.mac(ADDRESS_LABEL, text.as_bytes()).verify_slice(&bytes).is_ok()
    }

    /// The key that the callbacks of a workspace are signed with, in hex.
    pub(crate) fn callback_key(&self, workspace: WorkspaceId) -> String {
        hex(&self.payload_key(workspace))
    }

    fn payload_key(&self, workspace: WorkspaceId) -> [u8; 32] {
        self.mac(b"metal9 payload key v1", workspace.0.as_bytes()).finalize().into_bytes().into()
    }

    /// The signature of a callback's payload: hex HMAC-SHA256 over the payload in base64, a colon
    /// and the Unix time in seconds, with a key of the workspace's own.
    pub(crate) fn sign_payload(&self, ws: WorkspaceId, payload: &[u8], unix_time: i64) -> String {
        let text = base64::engine::general_purpose::STANDARD.encode(payload);
        let own = Self { key: self.payload_key(ws) };
        let mac = own.mac(text.as_bytes(), format!(":{unix_time}").as_bytes());
        hex(&mac.finalize().into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_its_task_and_no_other_gateway_accepts_it() {
        let ours = Signer::new([1; 32]);
        let (ws, task) = (WorkspaceId(Uuid::from_u128(1)), TaskId(Uuid::from_u128(2)));
        let token = ours.job_token(ws, task);
        assert_eq!(ours.verify_job_token(&token), Some((ws, task)));
        assert_eq!(Signer::new([2; 32]).verify_job_token(&token), None);
    }

    #[test]
    fn a_changed_token_is_refused() {
        let signer = Signer::new([1; 32]);
        let token = signer.job_token(WorkspaceId(Uuid::nil()), TaskId(Uuid::nil()));
        for index in PREFIX.len()..token.len() - 1 {
            let mut bytes = token.clone().into_bytes();
            bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            if changed != token {
                assert_eq!(signer.verify_job_token(&changed), None, "{index}");
            }
        }
    }

    #[test]
    fn signatures_depend_on_payload_time_and_workspace() {
        let signer = Signer::new([1; 32]);
        let ws = WorkspaceId(Uuid::from_u128(1));
        let base = signer.sign_payload(ws, b"{}", 10);
        assert_eq!(base.len(), 64);
        assert_ne!(base, signer.sign_payload(ws, b"{}", 11));
        assert_ne!(base, signer.sign_payload(ws, b"[]", 10));
        assert_ne!(base, signer.sign_payload(WorkspaceId(Uuid::from_u128(2)), b"{}", 10));
    }
}
