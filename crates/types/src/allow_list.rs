//! The networks that a job may reach.

use std::fmt;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// How many entries a list may have; the SDK promises as many.
pub const MOST_ALLOWED: usize = 64;

/// Why a list is none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AllowListError {
    /// There are too many entries.
    #[error("`allow_list` has {0} entries, and may have {MOST_ALLOWED}")]
    TooMany(usize),
    /// An entry is not an address.
    #[error("`{0}` in `allow_list` is no address of a machine or a network")]
    NoAddress(String),
    /// An entry is an address that no job reaches.
    #[error("`{0}` in `allow_list` is a link-local network, which no job reaches")]
    LinkLocal(String),
}

/// The networks that a job may reach, in order, none of them within another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList {
    /// Those of IPv4.
    pub v4: Vec<Ipv4Net>,
    /// Those of IPv6.
    pub v6: Vec<Ipv6Net>,
}

impl AllowList {
    /// Reads addresses (`203.0.113.7`) and networks (`203.0.113.0/24`), of both kinds.
    ///
    /// # Errors
    ///
    /// If there are too many, or one of them is something else.
    pub fn parse(entries: &[String]) -> Result<Self, AllowListError> {
        if entries.len() > MOST_ALLOWED {
            return Err(AllowListError::TooMany(entries.len()));
        }
        let mut networks = Vec::with_capacity(entries.len());
        for entry in entries {
            let text = entry.trim();
            let read = text
                .parse::<IpNet>()
                .or_else(|error| text.parse::<IpAddr>().map(IpNet::from).map_err(|_| error));
            let network = read.map_err(|_| AllowListError::NoAddress(entry.clone()))?.trunc();
            if is_link_local(network) {
                return Err(AllowListError::LinkLocal(entry.clone()));
            }
            networks.push(network);
        }
        let mut list = Self::default();
        for network in IpNet::aggregate(&networks) {
            match network {
                IpNet::V4(network) => list.v4.push(network),
                IpNet::V6(network) => list.v6.push(network),
            }
        }
        Ok(list)
    }

    /// Whether it allows nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// One text for each network.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        let v4 = self.v4.iter().map(ToString::to_string);
        v4.chain(self.v6.iter().map(ToString::to_string)).collect()
    }
}

impl fmt::Display for AllowList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.texts().join(", "))
    }
}

fn is_link_local(network: IpNet) -> bool {
    let within = match network {
        IpNet::V4(_) => Ipv4Net::new([169, 254, 0, 0].into(), 16).map(IpNet::V4),
        IpNet::V6(_) => Ipv6Net::new([0xfe80, 0, 0, 0, 0, 0, 0, 0].into(), 10).map(IpNet::V6),
    };
    within.is_ok_and(|within| within.contains(&network))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(entries: &[&str]) -> Result<AllowList, AllowListError> {
        AllowList::parse(&entries.iter().map(|&entry| entry.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn addresses_and_networks_are_read_and_put_in_order() {
        let list = parse(&["203.0.113.7", "198.51.100.9/24", "2001:db8::1", " 10.0.0.0/8 "]);
        let texts = ["10.0.0.0/8", "198.51.100.0/24", "203.0.113.7/32", "2001:db8::1/128"];
        assert_eq!(list.unwrap().texts(), texts);
        assert!(parse(&[]).unwrap().is_empty());
    }

    #[test]
    fn what_is_within_another_network_is_there_once() {
        let list = parse(&["10.1.0.0/16", "10.0.0.0/8", "10.0.0.1", "11.0.0.0/8"]).unwrap();
        assert_eq!(list.to_string(), "10.0.0.0/7");
        assert_eq!(parse(&["0.0.0.0/0", "::/0"]).unwrap().texts(), ["0.0.0.0/0", "::/0"]);
        assert_eq!(AllowList::parse(&list.texts()), Ok(list));
    }

    #[test]
    fn names_and_nonsense_are_refused() {
        for text in ["", "api.example.com", "*.example.com", "10.0.0.0/33", "10.0.0", "1.2.3.4:80"]
        {
            assert_eq!(parse(&["10.0.0.0/8", text]), Err(AllowListError::NoAddress(text.into())));
        }
        assert_eq!(parse(&["10.0.0.1"; MOST_ALLOWED + 1]), Err(AllowListError::TooMany(65)));
        assert!(parse(&["10.0.0.1"; MOST_ALLOWED]).is_ok());
    }

    #[test]
    fn where_clouds_tell_secrets_cannot_be_allowed_by_name() {
        for text in ["169.254.169.254", "169.254.0.0/16", "fe80::1", "fe80::/64"] {
            assert_eq!(parse(&[text]), Err(AllowListError::LinkLocal(text.into())));
        }
    }
}
