//! What a running gateway writes down for those who want to reach it on this machine.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::connection::{DEFAULT_CONTEXT, Ini};

/// The contents of `dev.json` and `gateway.json`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ready {
    /// gRPC as `host:port`.
    pub(crate) grpc: String,
    /// HTTP as `host:port`.
    pub(crate) http: String,
    pub(crate) token: String,
    /// The SDK configuration file with the same.
    pub(crate) config: PathBuf,
    pub(crate) pid: u32,
    /// The fingerprint of the gateway's key, if it speaks TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fingerprint: Option<String>,
    /// The certificate for clients to trust, if the gateway signs for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca: Option<PathBuf>,
}

/// How clients on this machine reach `address`.
pub(crate) fn local(address: SocketAddr) -> SocketAddr {
    let mut local = address;
    if address.ip().is_unspecified() {
        local.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    local
}

/// An SDK configuration file for a gateway on this machine.
pub(crate) fn sdk_config(grpc: SocketAddr, http: SocketAddr, tls: bool, token: &str) -> String {
    let scheme = if tls { "https" } else { "http" };
    // With brackets around an IPv6 address, as it has in `host:port`.
    let address = grpc.to_string();
    let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
    let mut ini = Ini::default();
    for (key, value) in [
        ("token", token),
        ("gateway_host", host),
        ("gateway_port", &grpc.port().to_string()),
        ("api_url", &format!("{scheme}://{http}")),
    ] {
        ini.set(DEFAULT_CONTEXT, key, value);
    }
    ini.render()
}

/// The token in an SDK configuration file, if there is one.
pub(crate) fn token_of(config: &Path) -> Option<String> {
    let text = std::fs::read_to_string(config).ok()?;
    Ini::parse(&text).get(DEFAULT_CONTEXT, "token").map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sdks_file_has_what_the_sdk_reads() {
        let grpc = "127.0.0.1:1993".parse().unwrap();
        let http = "127.0.0.1:1994".parse().unwrap();
        assert_eq!(
            sdk_config(grpc, http, false, "abc="),
            "[default]\ntoken = abc=\ngateway_host = 127.0.0.1\ngateway_port = 1993\n\
             api_url = http://127.0.0.1:1994\n"
        );
    }

    #[test]
    fn an_ipv6_host_keeps_its_brackets() {
        let grpc = "[::1]:1993".parse().unwrap();
        assert!(sdk_config(grpc, grpc, false, "t").contains("gateway_host = [::1]\n"));
    }

    #[test]
    fn every_interface_includes_the_local_one() {
        assert_eq!(local("0.0.0.0:1".parse().unwrap()).to_string(), "127.0.0.1:1");
        assert_eq!(local("[::]:1".parse().unwrap()).to_string(), "[::1]:1");
        assert_eq!(local("10.0.0.1:1".parse().unwrap()).to_string(), "10.0.0.1:1");
    }

    #[test]
    fn the_token_is_found_again() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("config.ini");
        assert_eq!(token_of(&path), None);
        let address = "127.0.0.1:1".parse().unwrap();
        crate::private_file::write(&path, &sdk_config(address, address, true, "abc==")).unwrap();
        assert_eq!(token_of(&path).as_deref(), Some("abc=="));
    }
}
