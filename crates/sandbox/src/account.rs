//! The account that a job runs as.

use std::io;

use nix::unistd::{Gid, Uid, User, setgid, setuid};
use serde::{Deserialize, Serialize};

/// An account of this machine other than the worker's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its user id.
    pub uid: u32,
    /// Its group id; a job is in no other group.
    pub gid: u32,
}

impl Account {
    /// Looks an account up by its name; nothing if there is none of that name.
    ///
    /// # Errors
    ///
    /// If the system cannot say.
    pub fn find(name: &str) -> io::Result<Option<Self>> {
        let user = User::from_name(name)?;
        Ok(user.map(|user| Self { uid: user.uid.as_raw(), gid: user.gid.as_raw() }))
    }

    /// Makes this process one of the account, for good; only root can.
    pub(crate) fn enter(self) -> io::Result<()> {
        // SAFETY: one group, which lives through the call.
        if unsafe { libc::setgroups(1, &raw const self.gid) } == -1 {
            return Err(io::Error::last_os_error());
        }
        setgid(Gid::from_raw(self.gid))?;
        setuid(Uid::from_raw(self.uid))?;
        Ok(())
    }

    /// Whether this is root, who can leave every other isolation again.
    #[must_use]
    pub fn is_root(self) -> bool {
        self.uid == 0 || self.gid == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_found_by_their_names() {
        let root = Account::find("root").unwrap().unwrap();
        assert_eq!(root, Account { uid: 0, gid: 0 });
        assert!(root.is_root() && !Account { uid: 501, gid: 20 }.is_root());
        assert_eq!(Account::find("metal9-nobody-is-called-this").unwrap(), None);
    }
}
