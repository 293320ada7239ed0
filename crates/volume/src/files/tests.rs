use std::fs;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;
use crate::Staging;

struct Volume {
    root: TempDir,
    files: Files,
    staging: Staging,
}

impl Volume {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let files = Files::open(&root.path().join("volume")).unwrap();
        let staging = Staging::open(&root.path().join("staging")).unwrap();
        fs::write(root.path().join("secret"), "not for volumes").unwrap();
        Self { root, files, staging }
    }

    fn write(&self, path: &str, content: &str) -> Result<(), VolumeError> {
        let mut staged = self.staging.file()?;
        staged.write(content.as_bytes())?;
        self.files.place(staged, &at(path))
    }

    fn text(&self, path: &str) -> Result<String, VolumeError> {
        self.files.read(&at(path)).map(|(file, _)| io::read_to_string(file).unwrap())
    }

    fn names(&self, path: &str) -> Vec<String> {
        let entries = self.files.list(&at(path)).unwrap();
        entries.into_iter().map(|entry| entry.path.to_string()).collect()
    }
}

fn at(path: &str) -> VolumePath {
    VolumePath::parse(path).unwrap()
}

#[test]
fn files_are_written_listed_moved_and_deleted() {
    let volume = Volume::new();
    for path in ["a.txt", "sub/b.txt", "sub/c.json", "sub/deep/d.txt", ".hidden"] {
        volume.write(path, path).unwrap();
    }
    volume.write("a.txt", "again").unwrap();
    assert_eq!(volume.text("a.txt").unwrap(), "again");
    assert_eq!(volume.names(""), [".hidden", "a.txt", "sub"]);
    assert_eq!(volume.names("sub"), ["sub/b.txt", "sub/c.json", "sub/deep"]);
    assert_eq!(volume.names("sub/b.txt"), ["sub/b.txt"]);
    assert_eq!(volume.names("sub/*.txt"), ["sub/b.txt"]);
    assert_eq!(volume.names("*/[a-b].*"), ["sub/b.txt"]);
    assert_eq!(volume.names("sub/**"), volume.names("sub"));
    assert!(volume.names("nothing/*").is_empty());
    assert!(volume.files.list(&at("nothing")).is_err());
    let entry = volume.files.stat(&at("sub/c.json")).unwrap().unwrap();
    assert_eq!((entry.size, entry.is_dir), (10, false));

    assert_eq!(volume.files.rename(&at("a.txt"), &at("new/e.txt")).unwrap(), at("new/e.txt"));
    assert_eq!(volume.files.rename(&at("new/e.txt"), &at("sub")).unwrap(), at("sub/e.txt"));
    assert!(volume.files.rename(&at("a.txt"), &at("b")).is_err());
    assert!(volume.files.rename(&at("sub"), &at("sub/deep")).is_err());
    assert_eq!(volume.files.delete(&at("sub/*.txt")).unwrap(), [at("sub/b.txt"), at("sub/e.txt")]);
    assert_eq!(volume.files.delete(&at("sub")).unwrap(), [at("sub")]);
    assert!(matches!(volume.files.delete(&at("sub")), Err(VolumeError::Missing(_))));
    assert!(volume.files.delete(&at("")).is_err());
    assert_eq!(volume.names(""), [".hidden", "new"]);
}

#[test]
fn links_that_jobs_leave_lead_nowhere_outside() {
    let volume = Volume::new();
    let inside = volume.root.path().join("volume");
    symlink("../secret", inside.join("up")).unwrap();
    symlink(volume.root.path().join("secret"), inside.join("absolute")).unwrap();
    symlink("..", inside.join("above")).unwrap();
    symlink("/", inside.join("root")).unwrap();
    for path in ["up", "absolute", "above/secret", "root/etc/passwd"] {
        let error = volume.text(path).unwrap_err();
        assert!(error.is_callers(), "{path}: {error:?}");
        assert!(volume.files.rename(&at(path), &at("got")).is_err() || !path.contains('/'));
    }
    for path in ["above/new", "root/tmp/new"] {
        assert!(volume.write(path, "escaped").is_err(), "{path}");
        assert!(volume.files.delete(&at(path)).is_err(), "{path}");
    }
    assert!(volume.files.list(&at("above")).is_err());
    assert!(volume.files.list(&at("*/*")).unwrap().is_empty());
    // What is written over a link replaces the link.
    let _ = volume.files.delete(&at("got"));
    symlink("../secret", inside.join("over")).unwrap();
    volume.write("over", "mine").unwrap();
    assert_eq!(fs::read_to_string(volume.root.path().join("secret")).unwrap(), "not for volumes");
    assert_eq!(volume.files.delete(&at("above")).unwrap(), [at("above")]);
    assert!(volume.root.path().join("secret").exists());
}

#[test]
fn what_is_no_file_is_not_read() {
    let volume = Volume::new();
    volume.write("a/b", "x").unwrap();
    assert!(matches!(volume.text("a"), Err(VolumeError::Kind { .. })));
    assert!(volume.text("a/b/c").is_err());
    assert_eq!(volume.files.stat(&at("a/b/c")).unwrap(), None);
    assert!(volume.write("a", "over a directory").is_err());
    let pipe = volume.root.path().join("volume/pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // Nobody writes to it, and the read does not wait.
    assert!(matches!(volume.text("pipe"), Err(VolumeError::Kind { .. })));
}

#[test]
fn parts_come_in_any_order_and_make_one_file() {
    use std::io::Write;
    let volume = Volume::new();
    for (start, text) in [(4, "efgh"), (0, "abcd")] {
        volume.staging.part("u", start).unwrap().write_all(text.as_bytes()).unwrap();
    }
    assert!(volume.staging.whole("u", 9).is_err());
    let whole = volume.staging.whole("u", 8).unwrap();
    volume.files.place(whole, &at("file")).unwrap();
    assert_eq!(volume.text("file").unwrap(), "abcdefgh");
    volume.staging.forget("u").unwrap();
    drop(volume.staging.file().unwrap());
    assert_eq!(fs::read_dir(volume.root.path().join("staging")).unwrap().count(), 0);
}

#[test]
fn a_directory_is_deleted_however_deep_it_is() {
    let volume = Volume::new();
    // A job makes them step by step; this is as deep as one path goes.
    fs::create_dir_all(volume.root.path().join("volume/sub/deep").join("d/".repeat(1_900)))
        .unwrap();
    let small = std::thread::Builder::new().stack_size(128 * 1024);
    let done = small.spawn(move || {
        volume.files.delete(&at("sub/deep")).unwrap();
        assert_eq!(volume.names("sub"), Vec::<String>::new());
    });
    done.unwrap().join().unwrap();
}

#[test]
fn a_directory_is_not_moved_into_itself() {
    let volume = Volume::new();
    volume.write("a/b", "").unwrap();
    for to in ["a/c", "a/b/c", "a"] {
        let error = volume.files.rename(&at("a"), &at(to)).unwrap_err().to_string();
        assert!(error.contains("a directory cannot be moved into itself"), "{error}");
    }
    volume.files.rename(&at("a"), &at("ab")).unwrap();
    assert_eq!(volume.names("ab"), ["ab/b"]);
}
