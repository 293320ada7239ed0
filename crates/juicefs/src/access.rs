//! How the metadata of a file system is reached.

use std::fmt;

use percent_encoding::percent_decode_str;

/// Databases that are files of one machine.
const LOCAL: [&str; 2] = ["sqlite3", "badger"];
/// Databases whose password `juicefs` takes from its environment.
const HIDING: [&str; 5] = ["redis", "rediss", "postgres", "postgresql", "mysql"];

/// An address makes no sense.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AddressError {
    /// There is no scheme.
    #[error("expected an address as `redis://host:6379/1` or `sqlite3:///var/lib/meta.db`")]
    NoScheme,
    /// The password would be seen by everybody on the machine.
    #[error(
        "a password in an address of {0} cannot be kept from other users of the machine; use one \
         of redis, postgres and mysql, or a certificate"
    )]
    OpenPassword(String),
}

/// The address of a file system's metadata, and the password apart from it.
#[derive(Clone, PartialEq, Eq)]
pub struct Access {
    url: String,
    password: String,
}

/// Without the password.
impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Access {
    /// Takes an address apart that may have a password in it.
    ///
    /// # Errors
    /// When it is none, or its password could not be hidden.
    pub fn parse(address: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = address.split_once("://").ok_or(AddressError::NoScheme)?;
        if scheme.is_empty() || rest.is_empty() {
            return Err(AddressError::NoScheme);
        }
        let bare = || Self { url: address.to_owned(), password: String::new() };
        if LOCAL.contains(&scheme) {
            return Ok(bare());
        }
        let (place, options) = match rest.find('?') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let Some((account, place)) = place.rsplit_once('@') else { return Ok(bare()) };
        let Some((user, password)) = account.split_once(':') else { return Ok(bare()) };
        if !HIDING.contains(&scheme) {
            return Err(AddressError::OpenPassword(scheme.to_owned()));
        }
        let user = if user.is_empty() { String::new() } else { format!("{user}@") };
        let password = match scheme {
            // Its addresses have passwords as they are.
            "mysql" => password.to_owned(),
            _ => percent_decode_str(password).decode_utf8_lossy().into_owned(),
        };
        Ok(Self { url: format!("{scheme}://{user}{place}{options}"), password })
    }

    /// What another machine was told: the address without the password, and the password.
    #[must_use]
    pub fn told(url: String, password: String) -> Self {
        Self { url, password }
    }

    /// The address without the password.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The address as the program gets it. By itself it waits half a minute for each answer of a
    /// server that hangs, several times.
    pub(crate) fn for_program(&self) -> String {
        let is_redis = self.url.starts_with("redis://") || self.url.starts_with("rediss://");
        match (is_redis && !self.url.contains("read-timeout="), self.url.contains('?')) {
            (false, _) => self.url.clone(),
            (true, true) => format!("{}&read-timeout=5s", self.url),
            (true, false) => format!("{}?read-timeout=5s", self.url),
        }
    }

    /// The password; empty for none.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Whether other machines can reach it: a database that is a file is on one machine only.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        !self.url.split_once("://").is_some_and(|(scheme, _)| LOCAL.contains(&scheme))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(address: &str) -> (String, String) {
        let access = Access::parse(address).unwrap();
        (access.url().to_owned(), access.password().to_owned())
    }

    #[test]
    fn a_password_is_taken_out_of_the_address() {
        for (address, url, password) in [
            ("redis://h:6379/1", "redis://h:6379/1", ""),
            ("redis://:s%40t@h/1?a=b", "redis://h/1?a=b", "s@t"),
            ("rediss://me:x@h/1", "rediss://me@h/1", "x"),
            ("postgres://me:p:q@h/db", "postgres://me@h/db", "p:q"),
            ("postgres://me@h/db", "postgres://me@h/db", ""),
            ("mysql://me:p%40@(h:3306)/db", "mysql://me@(h:3306)/db", "p%40"),
            ("sqlite3:///a:b@c.db", "sqlite3:///a:b@c.db", ""),
        ] {
            assert_eq!(parts(address), (url.to_owned(), password.to_owned()));
        }
    }

    #[test]
    fn what_cannot_be_kept_secret_is_refused() {
        let refused = Access::parse("etcd://me:x@h/1").unwrap_err();
        assert_eq!(refused, AddressError::OpenPassword("etcd".into()));
        assert!(!refused.to_string().contains('x'));
        for text in ["", "redis", "://h", "redis://"] {
            assert_eq!(Access::parse(text), Err(AddressError::NoScheme), "{text}");
        }
    }

    #[test]
    fn a_server_that_hangs_is_not_waited_for_long() {
        let told = |address: &str| Access::parse(address).unwrap().for_program();
        assert_eq!(told("redis://:x@h/1"), "redis://h/1?read-timeout=5s");
        assert_eq!(told("rediss://h/1?a=b"), "rediss://h/1?a=b&read-timeout=5s");
        assert_eq!(told("redis://h/1?read-timeout=1s"), "redis://h/1?read-timeout=1s");
        assert_eq!(told("postgres://h/db"), "postgres://h/db");
    }

    #[test]
    fn a_password_is_not_shown() {
        let access = Access::parse("redis://:sesame@h/1").unwrap();
        assert!(!format!("{access:?}").contains("sesame"));
    }

    #[test]
    fn a_database_in_a_file_is_not_shared() {
        assert!(Access::parse("redis://h/1").unwrap().is_shared());
        assert!(!Access::parse("sqlite3:///x.db").unwrap().is_shared());
    }
}
