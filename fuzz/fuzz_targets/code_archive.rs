//! Code archives that somebody else made: whatever is in one, nothing is written outside of the
//! code directory, nothing but files and directories is made, and the bounds hold.

#![no_main]

use std::collections::HashSet;
use std::fs;
use std::io::{Cursor, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use metal9_archive::Bounds;
use zip::write::{SimpleFileOptions, ZipWriter};

/// Small, so that archives exceed them often.
const ENTRIES: usize = 24;
const BYTES: u64 = 64 * 1024;

#[derive(Arbitrary, Debug)]
enum Archive {
    Raw(Vec<u8>),
    /// A well-formed archive of odd entries.
    Made(Vec<Entry>),
    /// The same with some bytes changed.
    Damaged(Vec<Entry>, Vec<(u16, u8)>),
}

#[derive(Arbitrary, Debug)]
struct Entry {
    parts: Vec<Part>,
    kind: Kind,
    mode: u16,
    deflated: bool,
    content: Vec<u8>,
    repeat: u16,
}

/// A part of a name; those that could lead elsewhere come up often.
#[derive(Arbitrary, Debug)]
enum Part {
    Up,
    Here,
    Root,
    Backslash,
    Letter(u8),
    Any(String),
}

#[derive(Arbitrary, Debug)]
enum Kind {
    File,
    Directory,
    Symlink(String),
}

fuzz_target!(|archive: Archive| {
    let bytes = match archive {
        Archive::Raw(bytes) => bytes,
        Archive::Made(entries) => made(&entries),
        Archive::Damaged(entries, changes) => {
            let mut bytes = made(&entries);
            for (place, byte) in changes {
                let length = bytes.len().max(1);
                if let Some(target) = bytes.get_mut(usize::from(place) % length) {
                    *target = byte;
                }
            }
            bytes
        }
    };
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let (file, target) = (scratch.path().join("archive"), scratch.path().join("a/b/code"));
    fs::write(&file, bytes).expect("the archive is written");
    let bounds = Bounds { entries: ENTRIES, bytes: BYTES, ..Bounds::default() };
    let unpacked = metal9_archive::unpack(&file, &target, bounds);
    // What the gateway lets in of it is another question; it must only come to an end.
    let _ = fs::File::open(&file).map(|file| metal9_archive::inspect(file, bounds));
    let read = || Cursor::new(fs::read(&file).expect("the archive is read"));
    let hashed = metal9_archive::content_hash(read(), bounds);
    assert!(hashed.is_err() || unpacked.is_ok(), "the gateway takes what a worker refuses");
    let merged =
        metal9_archive::merge(read(), read(), &HashSet::new(), Cursor::new(Vec::new()), bounds);
    let merged = merged.and_then(|merged| metal9_archive::content_hash(merged, bounds));
    if let (Ok(hash), Ok(again)) = (hashed, merged) {
        assert_eq!(again, hash, "everything was replaced by itself");
    }

    let top: Vec<_> = names(scratch.path());
    assert!(top.iter().all(|name| name == "archive" || name == "a"), "outside: {top:?}");
    for below in ["a", "a/b"] {
        let path = scratch.path().join(below);
        assert!(!path.exists() || names(&path).len() <= 1, "beside the code: {:?}", names(&path));
    }
    let mut written = 0;
    if target.exists() {
        look(&target, &mut written);
    }
    assert!(unpacked.is_err() || written <= BYTES, "{written} bytes were unpacked");
    assert!(written <= BYTES + 1, "{written} bytes were written before it was refused");
});

fn made(entries: &[Entry]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for entry in entries.iter().take(ENTRIES + 4) {
        let name: String = entry.parts.iter().take(12).map(Part::text).collect();
        let method = match entry.deflated {
            true => zip::CompressionMethod::Deflated,
            false => zip::CompressionMethod::Stored,
        };
        let options = SimpleFileOptions::default()
            .compression_method(method)
            .unix_permissions(entry.mode.into());
        // A name that cannot be written is left out.
        let _ = match &entry.kind {
            Kind::Directory => writer.add_directory(name, options),
            Kind::Symlink(to) => writer.add_symlink(name, to.as_str(), options),
            Kind::File => writer.start_file(name, options).map(|()| {
                for _ in 0..=(entry.repeat % 512) {
                    let _ = writer.write_all(&entry.content);
                }
            }),
        };
    }
    writer.finish().map(Cursor::into_inner).unwrap_or_default()
}

impl Part {
    fn text(&self) -> String {
        match self {
            Self::Up => "../".into(),
            Self::Here => "./".into(),
            Self::Root => "/".into(),
            Self::Backslash => "\\".into(),
            Self::Letter(letter) => char::from(b'a' + letter % 4).to_string(),
            Self::Any(text) => text.clone(),
        }
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("the directory can be listed");
    entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Adds up the files' sizes and looks at what they are.
fn look(directory: &Path, written: &mut u64) {
    for entry in fs::read_dir(directory).expect("what was unpacked can be listed").flatten() {
        let (path, facts) = (entry.path(), entry.metadata().expect("an entry has metadata"));
        assert!(facts.is_file() || facts.is_dir(), "{} is something else", path.display());
        if facts.is_dir() {
            look(&path, written);
            continue;
        }
        assert_eq!(facts.permissions().mode() & 0o7000, 0, "{} has special bits", path.display());
        *written += facts.len();
    }
}
