//! The networks that a function may reach.

use metal9_types::{AllowList, AllowListError};

use super::{refuse, shown};
use crate::error::ApiError;

/// What to do instead.
const HINT: &str = "write addresses and networks, as `203.0.113.7`, `203.0.113.0/24` or \
                    `2001:db8::/32`; names are not looked up, and there are at most 64 entries";

/// Checks a list, and writes it as it is kept: in order, and nothing twice.
pub(crate) fn allow_list(entries: &[String]) -> Result<Vec<String>, ApiError> {
    match AllowList::parse(entries) {
        Ok(list) => Ok(list.texts()),
        Err(AllowListError::NoAddress(entry)) => {
            Err(refuse(AllowListError::NoAddress(shown(&entry)), HINT))
        }
        Err(AllowListError::LinkLocal(entry)) => {
            Err(refuse(AllowListError::LinkLocal(shown(&entry)), "leave it out"))
        }
        Err(error) => Err(refuse(error, HINT)),
    }
}

/// What somebody is told whose list has more than containers reach.
pub(crate) fn warning(list: &[String]) -> Option<&'static str> {
    let v6 = list.iter().any(|entry| entry.contains(':'));
    v6.then_some(
        "the networks of containers carry IPv4 only, so the IPv6 entries of `allow_list` are not \
         reached",
    )
}
