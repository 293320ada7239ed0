//! Reads `/proc`.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use super::snapshot::Entry;
use super::{Identity, Seen};

pub(crate) mod memory;

/// `/proc/PID/stat` is shorter than this on every kernel: 52 numbers and a name of 64 bytes.
const STAT_BYTES: usize = 2048;

/// Whether this kernel lists the children of a process (`CONFIG_PROC_CHILDREN`).
pub(super) fn lists_children() -> bool {
    fs::exists("/proc/thread-self/children").unwrap_or(false)
}

/// The process `pid` as it is now; `None` if there is none.
pub(super) fn look(pid: i32) -> Option<Seen> {
    Stat::read(pid).map(|stat| stat.seen)
}

/// See [`super::Tree::walk`].
///
/// The root's own children are looked up last, and again until they are all known: a process whose
/// parent ended during the walk has become a child of the root by then.
pub(super) fn walk(root: i32, visit: &mut dyn FnMut(Seen)) -> io::Result<bool> {
    let mut known = HashSet::new();
    let mut complete = true;
    loop {
        let mut next = Vec::new();
        thread_children(root, root, &mut next)?;
        next.retain(|pid| !known.contains(pid));
        if next.is_empty() {
            return Ok(complete);
        }
        while let Some(pid) = next.pop() {
            if !known.insert(pid) {
                continue;
            }
            let Some(stat) = Stat::read(pid) else {
                complete = false;
                continue;
            };
            visit(stat.seen);
            if !stat.seen.dead {
                complete &= children(pid, stat.threads, &mut next);
            }
        }
    }
}

/// Adds the children of every thread of `pid`; false if a thread ended meanwhile, since its
/// children are then those of another thread, which may have been read already.
fn children(pid: i32, threads: u64, into: &mut Vec<i32>) -> bool {
    if threads == 1 {
        return thread_children(pid, pid, into).is_ok();
    }
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    let mut complete = true;
    let threads: Vec<i32> = entries
        .map_while(|entry| entry.inspect_err(|_| complete = false).ok())
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    for thread in threads {
        complete &= thread_children(pid, thread, into).is_ok();
    }
    complete
}

fn thread_children(pid: i32, thread: i32, into: &mut Vec<i32>) -> io::Result<()> {
    // Not `fs::read_to_string`, which asks for the file's size first.
    let mut text = String::new();
    File::open(format!("/proc/{pid}/task/{thread}/children"))?.read_to_string(&mut text)?;
    into.extend(text.split_ascii_whitespace().filter_map(|word| word.parse::<i32>().ok()));
    Ok(())
}

/// Every process of the machine, for kernels that do not list children. Orphans are the root's, so
/// that no mark is needed.
pub(super) fn all(_mark: Option<&Path>) -> io::Result<Vec<Entry>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // A process that ended since the directory was read is of no interest.
        let Some(Stat { seen, parent, group, .. }) = Stat::read(pid) else { continue };
        all.push(Entry { seen, parent, group, marked: false });
    }
    Ok(all)
}

/// What `/proc/PID/stat` says.
struct Stat {
    seen: Seen,
    parent: i32,
    group: i32,
    threads: u64,
}

impl Stat {
    fn read(pid: i32) -> Option<Self> {
        let mut buffer = [0; STAT_BYTES];
        let length = File::open(format!("/proc/{pid}/stat")).ok()?.read(&mut buffer).ok()?;
        Self::parse(pid, &buffer[..length])
    }

    fn parse(pid: i32, line: &[u8]) -> Option<Self> {
        // The program's name is in parentheses and may itself hold any of them.
        let end = line.iter().rposition(|byte| *byte == b')')?;
        let rest = std::str::from_utf8(line.get(end + 1..)?).ok()?;
        let mut words = rest.split_ascii_whitespace();
        let state = words.next()?;
        let parent = words.next()?.parse().ok()?;
        let group = words.next()?.parse().ok()?;
        // proc(5) counts from 1 and the state is field 3: threads are 20, the start is 22.
        let threads = words.nth(14)?.parse().ok()?;
        let started = words.nth(1)?.parse().ok()?;
        // A first thread that ended alone looks like a zombie while the others go on.
        let dead = matches!(state, "Z" | "X" | "x") && threads <= 1;
        let seen = Seen { identity: Identity { pid, started }, dead };
        Some(Self { seen, parent, group, threads })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "(x) y) S 1 26 26 0 -1 4194560 21 0 0 0 0 0 0 0 20 0 3 0 75 3 9 1 2";

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = Stat::parse(26, format!("26 {LINE}").as_bytes()).unwrap();
        assert_eq!((stat.parent, stat.group, stat.threads), (1, 26, 3));
        let identity = Identity { pid: 26, started: 75 };
        assert_eq!(stat.seen, Seen { identity, dead: false });
    }

    #[test]
    fn a_zombie_with_other_threads_is_alive() {
        let dead = |line: &str| Stat::parse(26, line.as_bytes()).unwrap().seen.dead;
        assert!(!dead(&LINE.replace(") S", ") Z")));
        assert!(dead(&LINE.replace(") S", ") Z").replace(" 20 0 3 ", " 20 0 1 ")));
    }

    #[test]
    fn both_ways_of_looking_find_the_same_processes() {
        let root = i32::try_from(std::process::id()).unwrap();
        let mut child = std::process::Command::new("sh")
            .args(["-c", "sleep 1000 & echo; wait"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        // Its one line of output says that its own child runs.
        child.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
        let listed = all(None).unwrap();
        let grandchild = listed.iter().find(|e| e.parent == child.id().cast_signed()).unwrap();
        let expected = [child.id().cast_signed(), grandchild.seen.identity.pid];

        let picked = super::super::snapshot::Members::default().update(root, &listed);
        let mut walked = Vec::new();
        children(root, 0, &mut walked);
        let first = walked.contains(&expected[0]);
        children(expected[0], 1, &mut walked);
        let second = walked.contains(&expected[1]);

        child.kill().unwrap();
        child.wait().unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(expected[1]), nix::sys::signal::SIGKILL)
            .unwrap();
        assert!(first && second);
        for pid in expected {
            assert!(picked.iter().any(|seen| seen.identity.pid == pid));
        }
    }
}
