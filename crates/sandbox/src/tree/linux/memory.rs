//! How much memory a process uses.

use std::fs;
use std::io;

/// Anonymous and shared memory and swap in bytes; 0 if there is no such process.
pub(crate) fn quick(pid: i32) -> io::Result<u64> {
    sum(format!("/proc/{pid}/status"), &["RssAnon:", "RssShmem:", "VmSwap:"])
}

/// As [`quick`], with shared memory divided among those who share it.
pub(crate) fn exact(pid: i32) -> io::Result<u64> {
    sum(format!("/proc/{pid}/smaps_rollup"), &["Pss_Anon:", "Pss_Shmem:", "SwapPss:"])
}

fn sum(path: String, names: &[&str]) -> io::Result<u64> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(add(&text, names)),
        Err(error) if gone(&error) => Ok(0),
        Err(error) => Err(error),
    }
}

/// Whether an error of reading `/proc/PID` only says that the process has ended.
fn gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// Adds up the lines `NAME VALUE kB` of `text` that have one of `names`.
fn add(text: &str, names: &[&str]) -> u64 {
    let kibibytes: u64 = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let name = words.next()?;
            names.contains(&name).then(|| words.next()?.parse::<u64>().ok())?
        })
        .sum();
    kibibytes * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_lines_count() {
        let text =
            "Name:\tx\nVmRSS:\t 900 kB\nRssAnon:\t  10 kB\nRssFile:\t 7 kB\nVmSwap:\t 2 kB\n";
        assert_eq!(add(text, &["RssAnon:", "RssShmem:", "VmSwap:"]), 12 * 1024);
    }

    #[test]
    fn a_process_that_is_gone_uses_nothing() {
        assert_eq!(quick(i32::MAX).unwrap(), 0);
        assert_eq!(exact(i32::MAX).unwrap(), 0);
    }
}
