use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::*;

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

fn unpacked(
    entries: &[(&str, u32, &[u8])],
    bounds: Bounds,
) -> (TempDir, std::result::Result<(), UnpackError>) {
    let root = tempfile::tempdir().unwrap();
    let archive = archive(&root, entries);
    let result = unpack(&archive, &root.path().join("out/inner"), bounds);
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
        assert!(matches!(result, Err(UnpackError::Outside(_))), "{name}: {result:?}");
        assert!(!root.path().join("out/evil").exists(), "{name}");
        assert!(!root.path().join("evil").exists(), "{name}");
    }
}

#[test]
fn links_are_refused() {
    let (_root, result) = unpacked(&[("link", 0o120_777, b"/etc/passwd")], Bounds::default());
    assert!(matches!(result, Err(UnpackError::Kind(_))), "{result:?}");
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
        assert!(matches!(result, Err(UnpackError::Kind(_))), "{kind:o}: {result:?}");
    }
}

#[test]
fn an_archive_of_too_many_entries_is_refused() {
    let bounds = Bounds { entries: 1, ..Bounds::default() };
    let (_root, result) = unpacked(&[("a", 0o644, b""), ("b", 0o644, b"")], bounds);
    assert!(matches!(result, Err(UnpackError::Entries { found: 2, limit: 1 })), "{result:?}");
}

#[test]
fn the_size_limit_counts_all_files_as_they_are_written() {
    let zeros = vec![0; 600_000];
    let bounds = Bounds { bytes: 1_000_000, ..Bounds::default() };
    let (_root, result) = unpacked(&[("a", 0o644, &zeros)], bounds);
    result.unwrap();
    let (_root, result) = unpacked(&[("a", 0o644, &zeros), ("b", 0o644, &zeros)], bounds);
    assert!(matches!(result, Err(UnpackError::Size(1_000_000))), "{result:?}");
}

#[test]
fn what_is_no_archive_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("archive.zip");
    fs::write(&path, b"not a zip").unwrap();
    let result = unpack(&path, &root.path().join("out"), Bounds::default());
    assert!(matches!(result, Err(UnpackError::Archive(_))), "{result:?}");
}
