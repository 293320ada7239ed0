//! Processes and mounts, as `/proc` shows them.

use std::fs;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, umount2};
use nix::unistd::getpid;

/// Kills every process that was started with one of these directories in a variable of its
/// environment, as all jobs and builds are, or that lost its parent while it was at work in one;
/// returns how many.
pub(super) fn end_strays(directories: &[&Path]) -> usize {
    metal9_sandbox::end_found(|| processes().filter(|pid| is_stray(*pid, directories)).collect())
}

fn processes() -> impl Iterator<Item = i32> {
    let own = getpid().as_raw();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(move |pid| *pid != own)
}

fn is_stray(pid: i32, directories: &[&Path]) -> bool {
    // Those of other users cannot be read, and are none of ours. Those that have ended are empty.
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    if directories.iter().any(|directory| metal9_sandbox::names(&environment, directory)) {
        return true;
    }
    let cwd = fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
    directories.iter().any(|directory| cwd.starts_with(directory)) && parent(pid) == Some(1)
}

fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may hold blanks and parentheses.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Takes away every mount strictly below a directory; returns how many there were.
pub(super) fn unmount_below(directory: &Path) -> usize {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = mount_points(&mountinfo, directory);
    // The last one mounted may be inside of another.
    let gone = points.iter().rev().filter(|point| match umount2(*point, MntFlags::MNT_DETACH) {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(path = %point.display(), %error, "could not unmount what was left");
            false
        }
    });
    gone.count()
}

fn mount_points(mountinfo: &str, directory: &Path) -> Vec<PathBuf> {
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    let points = points.map(|point| PathBuf::from(point.replace("\\040", " ")));
    points.filter(|point| point.starts_with(directory) && point != directory).collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use nix::mount::{MsFlags, mount};
    use nix::unistd::geteuid;

    use super::super::Leftovers;
    use super::*;
    use crate::paths::Paths;

    #[test]
    fn a_stray_is_known_by_what_it_was_started_with_and_ended() {
        let root = tempfile::tempdir().unwrap();
        let containers = root.path().join("containers");
        let started = |name: &str, value: &Path| {
            Command::new("sleep").arg("1000").env(name, value).spawn().unwrap()
        };
        let mut stray = started("TMPDIR", &containers.join("7/tmp"));
        let mut other = started("TMPDIR", &root.path().join("containers-of-others/7"));
        while end_strays(&[&containers]) == 0 {
            // Between fork and exec it still has the environment of this process.
            std::thread::yield_now();
        }
        stray.wait().unwrap();
        assert_eq!(other.try_wait().unwrap(), None);
        other.kill().unwrap();
        other.wait().unwrap();
    }

    #[test]
    fn only_mounts_below_are_taken_away() {
        let mountinfo = "\
30 23 0:26 / /state/containers rw - tmpfs tmpfs rw
31 23 0:26 / /state/containers/1/tmp rw - tmpfs tmpfs rw
32 23 0:26 / /state/containers/a\\040b rw - tmpfs tmpfs rw
33 23 0:26 / /state rw - tmpfs tmpfs rw
";
        let found = mount_points(mountinfo, Path::new("/state/containers"));
        let expected = ["/state/containers/1/tmp", "/state/containers/a b"].map(PathBuf::from);
        assert_eq!(found, expected);
    }

    /// Mounts of a test, which are gone when it ends however it ends.
    struct Mounts(Vec<PathBuf>);

    impl Mounts {
        fn add(&mut self, source: &Path, target: PathBuf, kind: Option<&str>, flags: MsFlags) {
            fs::create_dir_all(&target).unwrap();
            mount(Some(source), &target, kind, flags, None::<&str>).unwrap();
            self.0.push(target);
        }
    }

    impl Drop for Mounts {
        fn drop(&mut self) {
            for target in self.0.iter().rev() {
                let _ = umount2(target, MntFlags::MNT_DETACH);
            }
        }
    }

    #[test]
    fn mounts_that_were_left_are_taken_away_and_what_they_show_stays() {
        if !geteuid().is_root() {
            eprintln!("skipped: only root can mount");
            return;
        }
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::new(&root.path().join("a state"));
        let container = paths.containers().join("1");
        let outside = root.path().join("outside");
        fs::create_dir_all(&outside).unwrap();
        fs::write(outside.join("precious"), "kept").unwrap();
        let (memory, none) = (Some("tmpfs"), MsFlags::empty());
        let mut mounts = Mounts(Vec::new());
        mounts.add(Path::new("tmpfs"), container.join("tmp"), memory, none);
        fs::write(container.join("tmp/scratch"), "").unwrap();
        // One inside of the other, and a window on something that is not ours to remove.
        mounts.add(Path::new("tmpfs"), container.join("tmp/deeper"), memory, none);
        mounts.add(&outside, container.join("code"), None, MsFlags::MS_BIND);
        // Another's, beside.
        mounts.add(Path::new("tmpfs"), root.path().join("beside"), memory, none);
        fs::write(root.path().join("beside/file"), "kept too").unwrap();
        assert!(container.join("code/precious").exists());

        let found = Leftovers::remove(&paths).unwrap();
        assert_eq!((found.mounts, found.containers), (3, 1));
        assert!(!paths.containers().exists());
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let escaped = root.path().to_str().unwrap();
        let left: Vec<&str> = mountinfo.lines().filter(|line| line.contains(escaped)).collect();
        assert_eq!(left.len(), 1, "{left:?}");
        assert!(left[0].contains("/beside "), "{left:?}");
        assert_eq!(fs::read_to_string(outside.join("precious")).unwrap(), "kept");
        assert_eq!(fs::read_to_string(root.path().join("beside/file")).unwrap(), "kept too");
    }
}
