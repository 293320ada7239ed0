//! Knowing the processes of a job by the environment that they were started with.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Whether the value of a variable in `environment`, whose entries end with a zero, is `directory`
/// or a path below it.
#[must_use]
pub fn names(environment: &[u8], directory: &Path) -> bool {
    let directory = directory.as_os_str().as_bytes();
    environment.split(|byte| *byte == 0).any(|variable| {
        let value = variable.iter().position(|byte| *byte == b'=').map(|at| &variable[at + 1..]);
        let rest = value.and_then(|value| value.strip_prefix(directory));
        rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
    })
}

/// The environment in what macOS' `KERN_PROCARGS2` gives: the number of arguments as a native
/// integer, the program's path, zeroes, the arguments, the environment.
#[cfg(any(test, not(target_os = "linux")))]
pub(super) fn environment(buffer: &[u8]) -> Option<&[u8]> {
    let (count, rest) = buffer.split_first_chunk()?;
    let count = usize::try_from(i32::from_ne_bytes(*count)).ok()?;
    let path = rest.iter().position(|byte| *byte == 0)?;
    let padding = rest[path..].iter().position(|byte| *byte != 0)?;
    let mut rest = &rest[path + padding..];
    for _ in 0..count {
        let end = rest.iter().position(|byte| *byte == 0)?;
        rest = &rest[end + 1..];
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(arguments: &[&str], environment: &[&str]) -> Vec<u8> {
        let mut buffer = i32::try_from(arguments.len()).unwrap().to_ne_bytes().to_vec();
        buffer.extend(b"/usr/bin/python3\0\0\0\0");
        for text in arguments.iter().chain(environment) {
            buffer.extend(text.as_bytes());
            buffer.push(0);
        }
        buffer
    }

    #[test]
    fn a_path_below_is_a_mark_but_a_longer_name_is_not() {
        let environment = b"PATH=/bin\0TMPDIR=/w/containers/7/tmp\0";
        for directory in ["/w/containers/7/tmp", "/w/containers/7", "/w"] {
            assert!(names(environment, Path::new(directory)), "{directory}");
        }
        assert!(!names(environment, Path::new("/w/cont")));
        assert!(!names(environment, Path::new("/containers")));
        assert!(!names(b"", Path::new("/w")));
    }

    #[test]
    fn arguments_are_not_the_environment() {
        let told = buffer(&["python3", "-c", "X=/w/1"], &["A=b", "TMPDIR=/w/2"]);
        let environment = environment(&told).unwrap();
        assert!(names(environment, Path::new("/w/2")));
        assert!(!names(environment, Path::new("/w/1")));
    }

    #[test]
    fn an_empty_argument_counts() {
        let told = buffer(&["python3", "", "x"], &["A=/w"]);
        assert!(names(environment(&told).unwrap(), Path::new("/w")));
    }

    #[test]
    fn what_is_cut_short_has_no_environment() {
        let told = buffer(&["python3", "x"], &[]);
        for length in 0..told.len() - 1 {
            assert_eq!(environment(&told[..length]), None, "{length}");
        }
        assert_eq!(environment(&told), Some(&[][..]));
    }
}
