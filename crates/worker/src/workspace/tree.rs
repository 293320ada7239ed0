//! The files of a container's code, and what may be done to them from outside.

use std::io::Read;
use std::path::Path;

use metal9_archive::Bounds;
use metal9_proto::worker::workspace_change::Change;
use metal9_proto::worker::{WorkspaceChange, WorkspaceFile, WorkspaceMove};
use metal9_sandbox::Account;
use metal9_volume::{Files, Staging, VolumeError, VolumePath};

/// What a change means for the code that runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Effect {
    /// Python must read it again.
    Code,
    /// Nothing: it is there when it is looked for.
    Files,
}

/// The code of one container.
#[derive(Debug)]
pub(super) struct Tree {
    files: Files,
    staging: Staging,
    owner: Option<Account>,
    /// What is there, roughly: what the job itself writes is not counted.
    bytes: u64,
    entries: usize,
    bounds: Bounds,
}

impl Tree {
    pub(super) fn open(
        code: &Path,
        aside: &Path,
        owner: Option<Account>,
    ) -> Result<Self, VolumeError> {
        let files = Files::open(code)?;
        let staging = Staging::open_for_copies(aside)?;
        let found = files.scan()?;
        let bytes = found.iter().map(|file| file.size).sum();
        let (entries, bounds) = (found.len(), Bounds::default());
        Ok(Self { files, staging, owner, bytes, entries, bounds })
    }

    /// Makes a change, or says why not.
    pub(super) fn make(&mut self, change: WorkspaceChange) -> Result<Effect, String> {
        let made = match change.change {
            Some(Change::Write(file)) => self.write(&file),
            Some(Change::MakeDirectory(path)) => self.make_directory(&path),
            Some(Change::Remove(path)) => self.remove(&path),
            Some(Change::Move(paths)) => self.rename(&paths),
            // Of a gateway that knows more.
            None => Ok(Effect::Files),
        };
        made.map_err(|problem| problem.to_string())
    }

    fn write(&mut self, file: &WorkspaceFile) -> Result<Effect, Problem> {
        let path = read(&file.path)?;
        let before = self.files.find(&path)?;
        let size = file.data.len() as u64;
        if before.as_ref().is_some_and(|found| found.size == size) && self.is(&path, &file.data)? {
            return Ok(Effect::Files);
        }
        let old = before.as_ref().map_or(0, |found| found.size);
        let bytes = self.bytes.saturating_sub(old).saturating_add(size);
        let entries = self.entries + usize::from(before.is_none());
        if bytes > self.bounds.bytes || entries > self.bounds.entries {
            let Bounds { bytes, entries, .. } = self.bounds;
            return Err(Problem::TooMuch { bytes, entries });
        }
        let mut staged = self.staging.file()?;
        staged.write(&file.data)?;
        staged.set_executable(before.is_some_and(|found| found.executable))?;
        if let Some(Account { uid, gid }) = self.owner {
            staged.give(uid, gid)?;
        }
        self.make_directory_at(&path.parent())?;
        self.files.place(staged, &path)?;
        (self.bytes, self.entries) = (bytes, entries);
        Ok(effect(&path))
    }

    /// Whether a file has exactly this content.
    fn is(&self, path: &VolumePath, data: &[u8]) -> Result<bool, Problem> {
        let (file, _) = self.files.read(path)?;
        let mut there = Vec::with_capacity(data.len());
        // A file that cannot be read has not.
        let read = file.take(data.len() as u64 + 1).read_to_end(&mut there);
        Ok(read.is_ok() && there == data)
    }

    fn make_directory(&mut self, path: &str) -> Result<Effect, Problem> {
        self.make_directory_at(&read(path)?)?;
        Ok(Effect::Files)
    }

    fn make_directory_at(&self, path: &VolumePath) -> Result<(), Problem> {
        if path.is_root() || self.files.stat(path)?.is_some_and(|there| there.is_dir) {
            return Ok(());
        }
        self.make_directory_at(&path.parent())?;
        self.files.make_dir(path)?;
        if let Some(Account { uid, gid }) = self.owner {
            self.files.give_dir(path, uid, gid)?;
        }
        Ok(())
    }

    fn remove(&mut self, path: &str) -> Result<Effect, Problem> {
        let path = read(path)?;
        if path.is_root() {
            return Err(Problem::Root);
        }
        let Some(there) = self.files.stat(&path)? else { return Ok(Effect::Files) };
        match self.files.delete_one(&path) {
            Ok(()) => {}
            Err(VolumeError::Missing(_)) => return Ok(Effect::Files),
            Err(error) => return Err(error.into()),
        }
        self.count_anew(there.is_dir, there.size)?;
        Ok(if there.is_dir { Effect::Code } else { effect(&path) })
    }

    /// After something went: a directory takes with it what nobody has counted by itself.
    fn count_anew(&mut self, directory: bool, size: u64) -> Result<(), Problem> {
        if directory {
            let found = self.files.scan()?;
            (self.bytes, self.entries) = (found.iter().map(|file| file.size).sum(), found.len());
        } else {
            self.bytes = self.bytes.saturating_sub(size);
            self.entries = self.entries.saturating_sub(1);
        }
        Ok(())
    }

    fn rename(&mut self, paths: &WorkspaceMove) -> Result<Effect, Problem> {
        let (from, to) = (read(&paths.from)?, read(&paths.to)?);
        let Some(moved) = self.files.stat(&from)? else {
            // An editor's temporary file is often gone before anybody has read it, and what is in a
            // directory has moved with it.
            return match self.files.stat(&to)? {
                Some(_) => Ok(Effect::Files),
                None => Err(Problem::NeverCame { from, to }),
            };
        };
        self.make_directory_at(&to.parent())?;
        self.files.replace(&from, &to)?;
        let code = moved.is_dir || effect(&from) == Effect::Code || effect(&to) == Effect::Code;
        Ok(if code { Effect::Code } else { Effect::Files })
    }
}

/// What is wrong with a change, in the developer's words.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("`{path}` is no path below the directory: {why}")]
    Path { path: String, why: &'static str },
    #[error("the directory as a whole cannot be removed")]
    Root,
    #[error(
        "`{from}` was to become `{to}`, but its content never came (hint: save `{to}` once more)"
    )]
    NeverCame { from: VolumePath, to: VolumePath },
    #[error("the code may have {entries} files and {} MiB", bytes >> 20)]
    TooMuch { bytes: u64, entries: usize },
    #[error("`{path}` is {is}")]
    Kind { path: String, is: &'static str },
    #[error("cannot {doing} `{path}`: {source}")]
    Io { doing: &'static str, path: String, source: std::io::Error },
    #[error(transparent)]
    Other(VolumeError),
}

impl From<VolumeError> for Problem {
    fn from(error: VolumeError) -> Self {
        match error {
            VolumeError::Path { path, why } => Self::Path { path, why },
            VolumeError::Kind { path, is } => Self::Kind { path, is },
            VolumeError::Io { doing, path, source } => Self::Io { doing, path, source },
            other => Self::Other(other),
        }
    }
}

/// Reads a path; one that begins at the root of the machine is not meant to be below the directory.
fn read(text: &str) -> Result<VolumePath, Problem> {
    if text.starts_with('/') {
        let path = text.chars().filter(|c| !c.is_control()).take(64).collect();
        return Err(Problem::Path { path, why: "it begins with `/`" });
    }
    Ok(VolumePath::parse(text)?)
}

/// Python reads modules once; everything else is read when it is needed.
fn effect(path: &VolumePath) -> Effect {
    if path.name().ends_with(".py") { Effect::Code } else { Effect::Files }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::PathBuf;

    use super::*;

    struct Rig {
        root: tempfile::TempDir,
        tree: Tree,
    }

    impl Rig {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            fs::create_dir(root.path().join("code")).unwrap();
            fs::write(root.path().join("code/app.py"), "1").unwrap();
            fs::write(root.path().join("secret"), "secret").unwrap();
            let tree =
                Tree::open(&root.path().join("code"), &root.path().join("aside"), None).unwrap();
            Self { root, tree }
        }

        fn at(&self, path: &str) -> PathBuf {
            self.root.path().join("code").join(path)
        }

        fn text(&self, path: &str) -> String {
            fs::read_to_string(self.at(path)).unwrap()
        }

        fn write(&mut self, path: &str, text: &str) -> Result<Effect, String> {
            let data = text.to_owned().into();
            self.make(Change::Write(WorkspaceFile { path: path.into(), data }))
        }

        fn rename(&mut self, from: &str, to: &str) -> Result<Effect, String> {
            self.make(Change::Move(WorkspaceMove { from: from.into(), to: to.into() }))
        }

        fn remove(&mut self, path: &str) -> Result<Effect, String> {
            self.make(Change::Remove(path.into()))
        }

        fn make(&mut self, change: Change) -> Result<Effect, String> {
            self.tree.make(WorkspaceChange { change: Some(change) })
        }
    }

    #[test]
    fn only_python_that_really_changed_is_to_be_read_again() {
        let mut rig = Rig::new();
        assert_eq!(rig.write("app.py", "2"), Ok(Effect::Code));
        assert_eq!(rig.write("app.py", "2"), Ok(Effect::Files));
        assert_eq!(rig.write("data/a.json", "{}"), Ok(Effect::Files));
        assert_eq!(rig.make(Change::MakeDirectory(".".into())), Ok(Effect::Files));
        assert_eq!(rig.make(Change::MakeDirectory("new/deep".into())), Ok(Effect::Files));
        assert!(rig.at("new/deep").is_dir());
        assert_eq!(rig.remove("data"), Ok(Effect::Code));
        assert_eq!(rig.remove("data"), Ok(Effect::Files));
        assert_eq!(rig.remove("app.py"), Ok(Effect::Code));
    }

    #[test]
    fn a_file_keeps_its_mode() {
        let mut rig = Rig::new();
        fs::set_permissions(rig.at("app.py"), fs::Permissions::from_mode(0o755)).unwrap();
        rig.write("app.py", "2").unwrap();
        assert_eq!(fs::metadata(rig.at("app.py")).unwrap().permissions().mode() & 0o777, 0o755);
    }

    #[test]
    fn what_moves_takes_its_place_whatever_was_there() {
        let mut rig = Rig::new();
        rig.write("app.py.tmp", "new").unwrap();
        assert_eq!(rig.rename("app.py.tmp", "app.py"), Ok(Effect::Code));
        assert_eq!(rig.text("app.py"), "new");
        // The same once more, as for what was in a directory that has moved.
        assert_eq!(rig.rename("app.py.tmp", "app.py"), Ok(Effect::Files));
        rig.write("a/x.txt", "x").unwrap();
        rig.write("b/y.txt", "y").unwrap();
        assert_eq!(rig.rename("a", "b"), Ok(Effect::Code));
        assert!(rig.at("b/x.txt").exists() && !rig.at("b/y.txt").exists());
        let error = rig.rename("gone.tmp", "other.py").unwrap_err();
        assert!(error.contains("save `other.py` once more"), "{error}");
    }

    #[test]
    fn nothing_outside_is_reached() {
        let mut rig = Rig::new();
        symlink("..", rig.at("up")).unwrap();
        symlink("../secret", rig.at("link")).unwrap();
        for path in ["../secret", "a/../../secret", "/etc/passwd", "up/secret", "up/new/x"] {
            rig.write(path, "changed").unwrap_err();
            rig.rename("app.py", path).unwrap_err();
            rig.rename(path, "got").unwrap_err();
            let _ = rig.remove(path);
        }
        rig.remove(".").unwrap_err();
        // A link is replaced, not followed.
        let _ = rig.write("link", "mine");
        assert_eq!(fs::read_to_string(rig.root.path().join("secret")).unwrap(), "secret");
        assert_eq!(rig.text("app.py"), "1");
    }

    #[test]
    fn there_may_be_only_so_much() {
        let mut rig = Rig::new();
        rig.tree.bounds = Bounds { bytes: 10, entries: 2, ..Bounds::default() };
        rig.write("a", "123456789").unwrap();
        rig.write("b", "").unwrap_err();
        rig.write("a", "1234567890").unwrap_err();
        rig.remove("a").unwrap();
        rig.write("b", "12").unwrap();
    }
}
