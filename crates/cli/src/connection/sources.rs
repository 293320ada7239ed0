//! Putting a connection together from what several places say.

use super::{Connection, DEFAULT_CONTEXT, Ini};
use crate::environment;

/// What one place says.
#[derive(Clone, Debug, Default)]
pub(super) struct Part {
    /// True for a place that describes one gateway and its token, and is used for that one only:
    /// a token must not go to a gateway that somebody else named.
    pub(super) whole: bool,
    pub(super) grpc: Option<String>,
    pub(super) http: Option<String>,
    pub(super) token: Option<String>,
    pub(super) fingerprint: Option<String>,
}

impl Part {
    /// The default context of an SDK configuration file.
    pub(super) fn from_ini(ini: &Ini) -> Option<Self> {
        let value = |key| ini.get(DEFAULT_CONTEXT, key);
        let host = value("gateway_host")?;
        let port = value("gateway_port").unwrap_or("1993");
        Some(Self {
            whole: true,
            grpc: Some(format!("{host}:{port}")),
            http: value("api_url").map(base_url),
            token: value("token").map(str::to_owned),
            fingerprint: None,
        })
    }
}

/// What the environment says: first in our names, then in the SDK's.
pub(super) fn from_environment(read: impl Fn(&str) -> Option<String>) -> [Part; 2] {
    let ours = Part {
        whole: false,
        grpc: read(environment::GATEWAY),
        http: read(environment::HTTP).map(|http| base_url(&http)),
        token: read(environment::TOKEN),
        fingerprint: read(environment::FINGERPRINT),
    };
    let port = read(environment::SDK_PORT).unwrap_or_else(|| "1993".to_owned());
    let sdk = Part {
        whole: false,
        grpc: read(environment::SDK_HOST).map(|host| format!("{host}:{port}")),
        http: read(environment::SDK_API_URL).map(|url| base_url(&url)),
        token: read(environment::SDK_TOKEN),
        fingerprint: None,
    };
    [ours, sdk]
}

/// Merges what places say, the strongest first.
pub(super) fn merge(parts: Vec<Part>) -> Connection {
    let mut merged = Connection::default();
    for part in parts {
        let other =
            |have: &Option<String>, offered: &Option<String>| have.is_some() && have != offered;
        if part.whole && (other(&merged.grpc, &part.grpc) || other(&merged.http, &part.http)) {
            continue;
        }
        merged.grpc = merged.grpc.or(part.grpc);
        merged.http = merged.http.or(part.http);
        merged.token = merged.token.or(part.token);
        merged.fingerprint = merged.fingerprint.or(part.fingerprint);
    }
    // Whoever is known by a key is spoken to with TLS, on both ports.
    if merged.fingerprint.is_some() {
        merged.http = merged.http.map(|http| http.replacen("http://", "https://", 1));
    }
    merged
}

/// `http://host:port` of an address with or without the scheme.
pub(super) fn base_url(address: &str) -> String {
    let address = address.trim_end_matches('/');
    if address.contains("://") { address.to_owned() } else { format!("http://{address}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(whole: bool, grpc: Option<&str>, http: Option<&str>, token: Option<&str>) -> Part {
        let own = |text: Option<&str>| text.map(str::to_owned);
        Part { whole, grpc: own(grpc), http: own(http), token: own(token), fingerprint: None }
    }

    #[test]
    fn a_token_alone_goes_to_the_configured_gateway() {
        let flags = part(false, None, None, Some("mine"));
        let config = part(true, Some("a:1"), Some("http://a:2"), Some("theirs"));
        let merged = merge(vec![flags, config]);
        assert_eq!(merged.grpc.as_deref(), Some("a:1"));
        assert_eq!(merged.token.as_deref(), Some("mine"));
    }

    #[test]
    fn a_configured_token_never_goes_to_another_gateway() {
        let flags = part(false, Some("b:1"), None, None);
        let config = part(true, Some("a:1"), Some("http://a:2"), Some("theirs"));
        let merged = merge(vec![flags, config.clone()]);
        assert_eq!((merged.token, merged.http), (None, None));

        let same = part(false, Some("a:1"), None, None);
        assert_eq!(merge(vec![same, config]).token.as_deref(), Some("theirs"));
    }

    #[test]
    fn a_gateway_known_by_its_key_is_asked_over_tls() {
        let mut state = part(true, Some("a:1"), Some("http://a:2"), Some("t"));
        state.fingerprint = Some("sha256:00".to_owned());
        assert_eq!(merge(vec![state]).http.as_deref(), Some("https://a:2"));
    }

    #[test]
    fn our_variables_come_before_the_sdks() {
        let read = |name: &str| match name {
            "METAL9_GATEWAY" => Some("ours:1".to_owned()),
            "BETA9_GATEWAY_HOST" => Some("theirs".to_owned()),
            "BETA9_TOKEN" => Some("token".to_owned()),
            _ => None,
        };
        let merged = merge(from_environment(read).to_vec());
        assert_eq!(merged.grpc.as_deref(), Some("ours:1"));
        assert_eq!(merged.token.as_deref(), Some("token"));
    }

    #[test]
    fn the_sdks_file_is_understood() {
        let ini = Ini::parse(
            "[default]\ntoken = abc\ngateway_host = h\ngateway_port = 7\napi_url = http://h:8/\n",
        );
        let merged = merge(vec![Part::from_ini(&ini).unwrap()]);
        assert_eq!(merged.grpc.as_deref(), Some("h:7"));
        assert_eq!(merged.http.as_deref(), Some("http://h:8"));
        assert!(Part::from_ini(&Ini::parse("[other]\ngateway_host = h\n")).is_none());
    }
}
