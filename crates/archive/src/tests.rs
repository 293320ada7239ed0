//! Whole archives, good and bad ones, looked through and unpacked.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{Cursor, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tempfile::TempDir;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::listing::TYPE_BITS;
use crate::{ArchiveError, Bounds, Summary, content_hash, inspect, merge, unpack};

/// What the gateway says of an archive.
fn inspected(path: &Path, bounds: Bounds) -> Result<Summary, ArchiveError> {
    inspect(File::open(path).unwrap(), bounds)
}

/// An archive of entries: name, mode, content; a name that ends in `/` is a directory.
fn archive(root: &TempDir, entries: &[(&str, u32, &[u8])]) -> PathBuf {
    let path = root.path().join("archive.zip");
    let mut zip = ZipWriter::new(File::create(&path).unwrap());
    for (name, mode, content) in entries {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .unix_permissions(*mode);
        if mode & TYPE_BITS == 0o120_000 {
            let target = String::from_utf8_lossy(content).into_owned();
            zip.add_symlink(*name, target, options).unwrap();
        } else if name.ends_with('/') {
            zip.add_directory(*name, options).unwrap();
        } else {
            zip.start_file(*name, options).unwrap();
            zip.write_all(content).unwrap();
        }
    }
    zip.finish().unwrap();
    path
}

fn unpacked(entries: &[(&str, u32, &[u8])], bounds: Bounds) -> (TempDir, Result<(), ArchiveError>) {
    let root = tempfile::tempdir().unwrap();
    let archive = archive(&root, entries);
    let result = unpack(&archive, &root.path().join("out/inner"), bounds);
    // Both doors say the same wherever the directory tells.
    let seen = inspected(&archive, bounds);
    assert_eq!(result.is_ok(), seen.is_ok(), "{result:?} but {seen:?}");
    (root, result)
}

#[test]
fn files_directories_and_executables_are_restored() {
    let (root, result) = unpacked(
        &[
            ("app.py", 0o644, b"x = 1"),
            ("empty/", 0o755, b""),
            ("deep/down/run.sh", 0o755, b"echo"),
            ("./dotted.py", 0o600, b""),
        ],
        Bounds::default(),
    );
    result.unwrap();
    let out = root.path().join("out/inner");
    assert_eq!(fs::read(out.join("app.py")).unwrap(), b"x = 1");
    assert!(out.join("empty").is_dir());
    assert!(out.join("dotted.py").is_file());
    let mode = |name: &str| fs::metadata(out.join(name)).unwrap().permissions().mode() & 0o111;
    assert_ne!(mode("deep/down/run.sh"), 0);
    assert_eq!(mode("app.py"), 0);
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for name in ["../evil", "a/../../evil", "/etc/evil", "a/..", "..\\evil", "a\\b"] {
        let (root, result) = unpacked(&[(name, 0o644, b"x")], Bounds::default());
        assert!(matches!(result, Err(ArchiveError::Outside(_))), "{name}: {result:?}");
        assert!(!root.path().join("out/evil").exists(), "{name}");
        assert!(!root.path().join("evil").exists(), "{name}");
    }
}

#[test]
fn links_are_refused() {
    let (_root, result) = unpacked(&[("link", 0o120_777, b"/etc/passwd")], Bounds::default());
    assert!(matches!(result, Err(ArchiveError::Kind { .. })), "{result:?}");
}

/// The writer makes no such entries, so the mode is changed in the central directory.
#[test]
fn devices_and_pipes_are_refused() {
    for kind in [0o020_000u32, 0o060_000, 0o010_000, 0o140_000] {
        let root = tempfile::tempdir().unwrap();
        let path = archive(&root, &[("node", 0o644, b"")]);
        let mut bytes = fs::read(&path).unwrap();
        let central = bytes.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
        let mode = ((kind | 0o644) << 16).to_le_bytes();
        bytes[central + 38..central + 42].copy_from_slice(&mode);
        fs::write(&path, bytes).unwrap();
        let result = unpack(&path, &root.path().join("out"), Bounds::default());
        assert!(matches!(result, Err(ArchiveError::Kind { .. })), "{kind:o}: {result:?}");
    }
}

#[test]
fn an_archive_of_too_many_entries_is_refused() {
    let bounds = Bounds { entries: 1, ..Bounds::default() };
    let (_root, result) = unpacked(&[("a", 0o644, b""), ("b", 0o644, b"")], bounds);
    assert!(matches!(result, Err(ArchiveError::Entries { found: 2, limit: 1 })), "{result:?}");
}

#[test]
fn the_size_limit_counts_all_files_as_they_are_written() {
    let zeros = vec![0; 600_000];
    let bounds = Bounds { bytes: 1_000_000, ..Bounds::default() };
    let (_root, result) = unpacked(&[("a", 0o644, &zeros)], bounds);
    result.unwrap();
    let (_root, result) = unpacked(&[("a", 0o644, &zeros), ("b", 0o644, &zeros)], bounds);
    assert!(matches!(result, Err(ArchiveError::Size { limit: 1_000_000, .. })), "{result:?}");
}

#[test]
fn what_is_no_archive_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("archive.zip");
    fs::write(&path, b"not a zip").unwrap();
    let result = unpack(&path, &root.path().join("out"), Bounds::default());
    assert!(matches!(result, Err(ArchiveError::Archive(_))), "{result:?}");
}

#[test]
fn bits_beyond_permission_to_run_are_dropped() {
    let (root, result) =
        unpacked(&[("tool", 0o6_755, b"x"), ("data", 0o2_666, b"")], Bounds::default());
    result.unwrap();
    let mode = |name: &str| {
        let path = root.path().join("out/inner").join(name);
        fs::metadata(path).unwrap().permissions().mode() & 0o7_777
    };
    assert_eq!(mode("tool") & 0o7_022, 0);
    assert_eq!(mode("data") & 0o7_133, 0);
}

#[test]
fn a_small_archive_that_becomes_a_giant_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let path = patched(&root, &[("zeros", 0o644, &[0; 1000])], |central| {
        central[24..28].copy_from_slice(&(300_u32 << 20).to_le_bytes());
    });
    let refused = inspected(&path, Bounds::default());
    assert!(matches!(refused, Err(ArchiveError::Size { .. })), "{refused:?}");
}

/// Changes an archive's bytes after its first central directory record begins.
fn patched(root: &TempDir, entries: &[(&str, u32, &[u8])], change: impl Fn(&mut [u8])) -> PathBuf {
    let path = archive(root, entries);
    let mut bytes = fs::read(&path).unwrap();
    let central = bytes.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    change(&mut bytes[central..]);
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn a_size_that_lies_is_found_out_when_it_is_written() {
    let root = tempfile::tempdir().unwrap();
    let zeros = vec![0; 1_000_000];
    let path = patched(&root, &[("a", 0o644, &zeros)], |central| {
        central[24..28].copy_from_slice(&10_u32.to_le_bytes());
    });
    let bounds = Bounds { bytes: 1000, ..Bounds::default() };
    assert!(inspected(&path, bounds).is_ok());
    unpack(&path, &root.path().join("out"), bounds).unwrap_err();
    let written = fs::metadata(root.path().join("out/a")).map_or(0, |file| file.len());
    assert!(written <= 1001, "{written} bytes were written");
}

#[test]
fn an_encrypted_archive_is_refused_by_name() {
    let root = tempfile::tempdir().unwrap();
    let path = patched(&root, &[("diary.txt", 0o644, b"x")], |central| central[8] |= 1);
    for refused in [
        inspected(&path, Bounds::default()).unwrap_err(),
        unpack(&path, &root.path().join("out"), Bounds::default()).unwrap_err(),
    ] {
        assert!(refused.to_string().contains("`diary.txt` is encrypted"), "{refused}");
    }
}

#[test]
fn a_count_of_entries_that_lies_allocates_nothing() {
    let root = tempfile::tempdir().unwrap();
    let mut bytes = b"PK\x06\x06".to_vec();
    bytes.resize(56, 0);
    for at in [24, 32] {
        bytes[at..at + 8].copy_from_slice(&(u64::MAX / 1000).to_le_bytes());
    }
    bytes.extend(b"PK\x06\x07");
    bytes.resize(56 + 20, 0);
    bytes.extend(b"PK\x05\x06\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0");
    let path = root.path().join("archive.zip");
    fs::write(&path, bytes).unwrap();
    let refused = inspected(&path, Bounds::default());
    assert!(matches!(refused, Err(ArchiveError::Entries { .. })), "{refused:?}");
}

#[test]
fn a_file_in_the_place_of_another_is_never_overwritten() {
    for names in [["a", "./a"], ["a", "a/b"]] {
        let entries = names.map(|name| (name, 0o644, &b"x"[..]));
        let (_root, refused) = unpacked(&entries, Bounds::default());
        assert!(matches!(refused, Err(ArchiveError::Twice(_))), "{names:?}: {refused:?}");
    }
}

#[test]
fn names_that_differ_in_case_are_two_files_where_the_disk_says_so() {
    let entries = [("Readme", 0o644, &b"one"[..]), ("README", 0o644, &b"two"[..])];
    let (root, result) = unpacked_anywhere(&entries);
    let files = fs::read_dir(root.path().join("out")).unwrap().count();
    match result {
        Ok(()) => assert_eq!(files, 2),
        Err(error) => {
            assert!(matches!(error, ArchiveError::Twice(_)), "{error:?}");
            assert_eq!(files, 1);
        }
    }
}

/// The same without comparing the doors, for what depends on the disk.
fn unpacked_anywhere(entries: &[(&str, u32, &[u8])]) -> (TempDir, Result<(), ArchiveError>) {
    let root = tempfile::tempdir().unwrap();
    let archive = archive(&root, entries);
    let result = unpack(&archive, &root.path().join("out"), Bounds::default());
    (root, result)
}

#[test]
fn an_archive_that_ends_early_or_begins_late_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let path = archive(&root, &[("app.py", 0o644, b"x = 1"), ("b", 0o644, b"y")]);
    let whole = fs::read(&path).unwrap();
    for length in [0, 1, 21, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        assert!(inspected(&path, Bounds::default()).is_err(), "{length} bytes");
    }
    fs::write(&path, [b"#!/bin/sh\n", &whole[..]].concat()).unwrap();
    assert!(inspected(&path, Bounds::default()).is_err(), "something before the archive");
}

fn hashed(entries: &[(&str, u32, &[u8])]) -> String {
    let root = tempfile::tempdir().unwrap();
    let file = File::open(archive(&root, entries)).unwrap();
    content_hash(file, Bounds::default()).unwrap()
}

#[test]
fn an_archives_hash_is_that_of_its_files_however_they_are_packed() {
    // Made by another program from the rule.
    let expected = "59ca1f9f41c3d400f692d09b82fc077bc05b39cc316670ba5c4b1fc76d42c5dc";
    let files: [(&str, u32, &[u8]); 3] =
        [("é/b.py", 0o600, b""), ("run.sh", 0o755, b"echo"), ("app.py", 0o644, b"x = 1")];
    assert_eq!(hashed(&files), expected);
    let with_directory = [&[("é/", 0o755, &b""[..])], &files[..]].concat();
    assert_eq!(hashed(&with_directory), expected, "directories do not count");
    for (number, other) in
        [("é/b.py", 0o644, &b""[..]), ("run.py", 0o755, b"echo"), ("app.py", 0o644, b"x = 2")]
            .into_iter()
            .enumerate()
    {
        let mut files = files;
        files[number] = other;
        assert_ne!(hashed(&files), expected, "{other:?}");
    }
    assert_eq!(hashed(&[]), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

#[test]
fn a_bomb_has_no_hash() {
    let root = tempfile::tempdir().unwrap();
    let path = archive(&root, &[("zeros", 0o644, &vec![0; 100_000])]);
    let bounds = Bounds { bytes: 99_999, ..Bounds::default() };
    let refused = content_hash(File::open(path).unwrap(), bounds);
    assert!(matches!(refused, Err(ArchiveError::Size { .. })), "{refused:?}");
}

#[test]
fn what_has_changed_goes_before_what_was_there() {
    let (before, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let base: [(&str, u32, &[u8]); 4] = [
        ("a.py", 0o644, b"a"),
        ("b.py", 0o644, b"b"),
        ("c.py", 0o644, b"c"),
        ("d/e.sh", 0o755, b"e"),
    ];
    let changes: [(&str, u32, &[u8]); 2] = [("b.py", 0o755, b"new"), ("f.py", 0o600, b"f")];
    let open = |root: &TempDir, entries| File::open(archive(root, entries)).unwrap();
    let removed = HashSet::from(["c.py".to_owned(), "never.py".to_owned()]);
    let merged = merge(
        open(&before, &base[..]),
        open(&after, &changes[..]),
        &removed,
        Cursor::new(Vec::new()),
        Bounds::default(),
    );
    let merged = content_hash(merged.unwrap(), Bounds::default()).unwrap();
    let expected: [(&str, u32, &[u8]); 4] = [
        ("a.py", 0o644, b"a"),
        ("b.py", 0o755, b"new"),
        ("d/e.sh", 0o755, b"e"),
        ("f.py", 0o600, b"f"),
    ];
    assert_eq!(merged, hashed(&expected));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn damage_anywhere_is_an_error_or_harmless(at in any::<prop::sample::Index>(), byte: u8) {
        let root = tempfile::tempdir().unwrap();
        let path = archive(&root, &[("app.py", 0o644, b"x = 1"), ("d/", 0o755, b""), ("d/b", 0o755, b"yy")]);
        let mut bytes = fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        fs::write(&path, &bytes).unwrap();
        let _ = inspected(&path, Bounds::default());
        let _ = unpack(&path, &root.path().join("out/inner"), Bounds::default());
        let outside = fs::read_dir(root.path()).unwrap().count();
        prop_assert!(outside <= 2, "something was written beside the code directory");
    }
}
