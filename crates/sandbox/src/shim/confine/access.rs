//! Restricting a process to its files and its own processes, by Landlock.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};

use crate::isolation::{Access, FileRule, Means};

/// The version whose rights are asked for; what an older kernel lacks is left out.
const VERSION: ABI = ABI::V6;

/// What can be asked of a file that is no directory.
const OF_FILES: [AccessFs; 5] = [
    AccessFs::Execute,
    AccessFs::ReadFile,
    AccessFs::WriteFile,
    AccessFs::Truncate,
    AccessFs::IoctlDev,
];

/// The version of Landlock that this kernel has; 0 for none.
pub(crate) fn version() -> u32 {
    const VERSION_OF_KERNEL: libc::c_ulong = 1;
    // SAFETY: with this flag the kernel looks at neither pointer nor size and returns a number.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<libc::c_void>(),
            0_usize,
            VERSION_OF_KERNEL,
        )
    };
    u32::try_from(version).unwrap_or(0)
}

/// Restricts this process and all it starts, for good.
pub(super) fn restrict(means: Means, files: &[FileRule]) -> io::Result<()> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(VERSION))
        .and_then(|ruleset| ruleset.scope(Scope::from_all(VERSION)))
        .and_then(Ruleset::create)
        .map_err(io::Error::other)?;
    for rule in files {
        if let Some(rights) = rights(&rule.access) {
            // A view has each file at its path; without one it is where it is.
            let path = if means.view { &rule.path } else { &rule.source };
            let hidden = if means.view { Vec::new() } else { hidden_in(rule, files) };
            for path in beside(path, &hidden) {
                ruleset = allow(ruleset, &path, rights)?;
            }
        }
    }
    if means.view {
        // There is nothing in it but what may be seen.
        ruleset = allow(ruleset, Path::new("/"), AccessFs::ReadDir.into())?;
        ruleset = allow(ruleset, Path::new("/dev/shm"), rights_to_write())?;
    } else {
        // `multiprocessing` does not work without it.
        ruleset = allow(ruleset, Path::new("/dev/shm"), rights_to_write())?;
    }
    let status = ruleset.restrict_self().map_err(io::Error::other)?;
    if status.ruleset == RulesetStatus::NotEnforced {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(())
}

fn allow(
    ruleset: landlock::RulesetCreated,
    path: &Path,
    rights: BitFlags<AccessFs>,
) -> io::Result<landlock::RulesetCreated> {
    let Ok(opened) = PathFd::new(path) else {
        // It has gone since the rules were made: nothing to allow.
        return Ok(ruleset);
    };
    let of_files: BitFlags<AccessFs> = OF_FILES.into_iter().collect();
    let rights = if path.is_dir() { rights } else { rights & of_files };
    ruleset.add_rule(PathBeneath::new(opened, rights)).map_err(io::Error::other)
}

fn rights(access: &Access) -> Option<BitFlags<AccessFs>> {
    match access {
        Access::Read => Some(AccessFs::ReadFile | AccessFs::ReadDir),
        Access::Execute => Some(AccessFs::from_read(VERSION)),
        Access::Device => Some(AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev),
        Access::Write => Some(rights_to_write()),
        Access::Link(_) | Access::Hidden => None,
    }
}

fn rights_to_write() -> BitFlags<AccessFs> {
    let devices = AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev;
    AccessFs::from_all(VERSION) & !devices
}

/// What is hidden in a directory. It cannot be allowed as a whole then where there is no view.
fn hidden_in<'a>(rule: &FileRule, files: &'a [FileRule]) -> Vec<&'a Path> {
    let hidden = files.iter().filter(|other| other.access == Access::Hidden);
    let hidden = hidden.filter(|other| other.source.starts_with(&rule.source));
    hidden.map(|other| other.source.as_path()).collect()
}

/// A directory if nothing is hidden in it; else all in it that is neither hidden nor has something hidden in it. Links are left out, as they
/// may lead elsewhere; what they lead to in the directory is allowed by itself.
fn beside(directory: &Path, hidden: &[&Path]) -> Vec<PathBuf> {
    let (mut all, mut open) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(directory) = open.pop() {
        if hidden.contains(&directory.as_path()) {
            continue;
        }
        if !hidden.iter().any(|hidden| hidden.starts_with(&directory)) {
            all.push(directory);
            continue;
        }
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        let entries = entries.filter(|entry| entry.file_type().is_ok_and(|it| !it.is_symlink()));
        open.extend(entries.map(|entry| entry.path()));
    }
    all
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn all_but_what_is_hidden_is_beside_it() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        for name in ["bin", "local/etc/service", "local/lib", "local/var"] {
            fs::create_dir_all(path(name)).unwrap();
        }
        fs::write(path("local/file"), "").unwrap();
        symlink("/etc", path("local/link")).unwrap();
        let (etc, var) = (path("local/etc"), path("local/var"));
        let mut found = beside(root.path(), &[&etc, &var]);
        found.sort();
        assert_eq!(found, [path("bin"), path("local/file"), path("local/lib")]);
        assert!(beside(&etc, &[&etc]).is_empty());
    }
}
