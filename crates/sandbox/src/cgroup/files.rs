//! Reading, writing and killing by way of a group's files.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid};

/// The file of the processes in a group; writing a process id moves that process there.
pub(super) const PROCESSES: &str = "cgroup.procs";

/// Writes a value in one piece, as the kernel wants it. The file must be there.
pub(super) fn write(directory: &Path, file: &str, value: &str) -> io::Result<()> {
    File::options().write(true).open(directory.join(file))?.write_all(value.as_bytes())
}

pub(super) fn read(directory: &Path, file: &str) -> io::Result<String> {
    // Not `fs::read_to_string`, which asks for the file's size first.
    let mut text = String::new();
    File::open(directory.join(file))?.read_to_string(&mut text)?;
    Ok(text)
}

/// A file that holds one number, or `max`.
pub(super) fn number(directory: &Path, file: &str) -> io::Result<u64> {
    let text = read(directory, file)?;
    match text.trim() {
        "max" => Ok(u64::MAX),
        text => text.parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidData)),
    }
}

/// The number in the line `NAME NUMBER` of a text; 0 if there is no such line.
pub(super) fn field(text: &str, name: &str) -> u64 {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines
        .find(|(key, _)| *key == name)
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0)
}

/// The group and all groups below it, the deepest first.
pub(super) fn family(directory: &Path) -> Vec<PathBuf> {
    let mut found = vec![directory.to_owned()];
    let mut at = 0;
    while let Some(parent) = found.get(at) {
        let below = fs::read_dir(parent).into_iter().flatten().flatten();
        let below = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let below: Vec<PathBuf> = below.map(|entry| entry.path()).collect();
        found.extend(below);
        at += 1;
    }
    found.reverse();
    found
}

/// The processes in the group and below.
pub(super) fn processes(directory: &Path) -> Vec<i32> {
    let texts = family(directory).into_iter().filter_map(|group| read(&group, PROCESSES).ok());
    let mut pids = Vec::new();
    for text in texts {
        // 0 is a process of another pid namespace, which is not ours to kill.
        pids.extend(
            text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0),
        );
    }
    pids
}

/// Sends SIGKILL to everyone in the group and below; returns how many there were.
///
/// Kernels since 5.14 do so at once in version 2. Elsewhere nobody can be born meanwhile where
/// processes are counted; where they are not, a caller that repeats this wins in the end.
pub(super) fn kill_all(directory: &Path) -> usize {
    let found = processes(directory);
    if found.is_empty() {
        return 0;
    }
    if write(directory, "cgroup.kill", "1").is_err() {
        for group in family(directory) {
            let _ = write(&group, "pids.max", "0");
        }
        let own = getpid().as_raw();
        for pid in processes(directory).into_iter().filter(|pid| *pid != own) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
    found.len()
}

/// Removes the group and all below it, which must be empty.
pub(super) fn remove(directory: &Path) -> io::Result<()> {
    for group in family(directory) {
        match fs::remove_dir(&group) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "oom 3\noom_kill 12\nlow x\n";
        assert_eq!(field(text, "oom_kill"), 12);
        assert_eq!((field(text, "low"), field(text, "max")), (0, 0));
    }

    #[test]
    fn a_family_is_listed_with_the_deepest_first() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("a/b")).unwrap();
        fs::write(root.path().join("a/file"), "").unwrap();
        let found = family(root.path());
        let expected = [root.path().join("a/b"), root.path().join("a"), root.path().to_owned()];
        assert_eq!(found, expected);
        assert_eq!(family(&root.path().join("gone")).len(), 1);
    }
}
