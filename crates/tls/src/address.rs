//! Where a server is.

use std::fmt;
use std::str::FromStr;

/// A server's host and port, and whether the one who named it wants TLS.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    /// The host; an IPv6 address has no brackets here.
    pub host: String,
    /// The port.
    pub port: u16,
    /// `https://` and `http://` say; nothing for an address without a scheme.
    pub tls: Option<bool>,
}

/// A text that is no address.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is not an address as host:port or https://host:port")]
pub struct AddressError(String);

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let error = || AddressError(text.chars().take(200).collect());
        let (tls, rest) = match text.split_once("://") {
            Some(("https", rest)) => (Some(true), rest),
            Some(("http", rest)) => (Some(false), rest),
            Some(_) => return Err(error()),
            None => (None, text),
        };
        let rest = rest.trim_end_matches('/');
        // Without a port, `https` has its own; one in brackets may be an IPv6 address alone.
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                (host, port.parse::<u16>().map_err(|_| error())?)
            }
            _ if tls == Some(true) => (rest, 443),
            _ => return Err(error()),
        };
        let host = match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']').ok_or_else(error)?,
            None if host.contains(':') => return Err(error()),
            None => host,
        };
        let authority =
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let readable = http::uri::Authority::from_str(&authority).is_ok() && !host.contains('@');
        if host.is_empty() || port == 0 || !readable {
            return Err(error());
        }
        Ok(Self { host: host.to_owned(), port, tls })
    }
}

impl Address {
    /// `host:port`, as in a URL.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tls {
            Some(true) => f.write_str("https://")?,
            Some(false) => f.write_str("http://")?,
            None => {}
        }
        f.write_str(&self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_hosts_and_ports() {
        for (text, host, port, tls) in [
            ("127.0.0.1:1993", "127.0.0.1", 1993, None),
            ("[::1]:1993", "::1", 1993, None),
            ("https://gateway.example:7/", "gateway.example", 7, Some(true)),
            ("https://gateway.example", "gateway.example", 443, Some(true)),
            ("https://[::1]", "::1", 443, Some(true)),
            ("http://h:1", "h", 1, Some(false)),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!((&address.host[..], address.port, address.tls), (host, port, tls), "{text}");
            assert_eq!(address.to_string().parse(), Ok(address), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", "host", ":1", "host:0", "host:port", "ftp://h:1", "::1", "a b:1", "u@h:1"]
        {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
