//! The account that jobs run as, if it is not the worker's own.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::Path;

use metal9_sandbox::Account;

/// Why jobs cannot run as an account.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// There is none of that name.
    #[error("this machine has no user of that name")]
    Unknown,
    /// It could not be looked up.
    #[error("the system cannot say who that is")]
    System(#[source] io::Error),
    /// It has more rights than the worker would have jobs have.
    #[error("jobs never run as root")]
    Root,
    /// Only root can give a process another account.
    #[error("only a worker that is root can start jobs as another user")]
    NotRoot,
    /// It could not be let in.
    #[error("the worker's state directory cannot be opened to it")]
    Open(#[source] io::Error),
}

/// The account of this name, which gets to its own directories below `root` from now on. What the
/// worker keeps for itself there stays closed.
pub(super) fn find(name: &str, root: &Path, containers: &Path) -> Result<Account, AccountError> {
    let account = Account::find(name).map_err(AccountError::System)?;
    let account = account.ok_or(AccountError::Unknown)?;
    if account.is_root() {
        return Err(AccountError::Root);
    }
    if !nix::unistd::geteuid().is_root() {
        return Err(AccountError::NotRoot);
    }
    for directory in [root, containers] {
        // Whoever knows a name may pass; nobody may list.
        let opened = fs::set_permissions(directory, fs::Permissions::from_mode(0o711));
        opened.map_err(AccountError::Open)?;
    }
    Ok(account)
}

/// Makes everything from `path` on the account's own. Links are not followed.
pub(super) fn hand_over(path: &Path, account: Account) -> io::Result<()> {
    let kind = fs::symlink_metadata(path)?;
    if kind.uid() != account.uid || kind.gid() != account.gid {
        lchown(path, Some(account.uid), Some(account.gid))?;
    }
    if kind.is_dir() {
        for entry in fs::read_dir(path)? {
            hand_over(&entry?.path(), account)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_name_that_is_nobodys_and_root_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let find = |name| find(name, root.path(), root.path());
        assert!(matches!(find("metal9-no-such-user"), Err(AccountError::Unknown)));
        assert!(matches!(find("root"), Err(AccountError::Root)));
    }

    #[test]
    fn only_root_lets_another_account_in() {
        let root = tempfile::tempdir().unwrap();
        let containers = root.path().join("containers");
        fs::create_dir(&containers).unwrap();
        let found = find("nobody", root.path(), &containers);
        if !nix::unistd::geteuid().is_root() {
            assert!(matches!(found, Err(AccountError::NotRoot)));
            return;
        }
        let account = found.unwrap();
        assert_eq!(fs::metadata(&containers).unwrap().mode() & 0o777, 0o711);
        fs::write(containers.join("file"), "x").unwrap();
        symlink("/etc", containers.join("link")).unwrap();
        hand_over(&containers, account).unwrap();
        for name in ["file", "link", ""] {
            let owner = fs::symlink_metadata(containers.join(name)).unwrap().uid();
            assert_eq!(owner, account.uid, "{name}");
        }
        assert_eq!(fs::metadata("/etc").unwrap().uid(), 0, "a link was followed");
    }
}
