//! Files on their way into a volume: beside it on the same disk, and moved there when they are
//! whole.

use std::fs::{File, Permissions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};

use crate::files::open_dir;
use crate::{VolumeError, VolumePath};

/// A directory of files that are not whole yet. Jobs cannot reach it.
#[derive(Debug)]
pub struct Staging {
    dir: Dir,
    lasting: bool,
}

/// A file that is not in its volume yet; removed when dropped.
#[derive(Debug)]
pub struct Staged {
    dir: Dir,
    name: String,
    file: Option<File>,
    lasting: bool,
}

impl Staging {
    /// Opens the directory, which is made if it is not there.
    ///
    /// # Errors
    /// When it cannot be.
    pub fn open(path: &Path) -> Result<Self, VolumeError> {
        open_dir(path).map(|dir| Self { dir, lasting: true })
    }

    /// The same for files that need not outlive the machine: copies.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open_for_copies(path: &Path) -> Result<Self, VolumeError> {
        Self::open(path).map(|staging| Self { lasting: false, ..staging })
    }

    /// A new, empty file.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn file(&self) -> Result<Staged, VolumeError> {
        let name = format!("file-{:032x}", rand::random::<u128>());
        let mut options = OpenOptions::new();
        options.write(true).read(true).create_new(true);
        let made = self.dir.open_with(&name, &options);
        let dir = self.dir.try_clone();
        let (file, dir) = made
            .and_then(|file| Ok((file.into_std(), dir?)))
            .map_err(VolumeError::io("make", name.as_str()))?;
        Ok(Staged { dir, name, file: Some(file), lasting: self.lasting })
    }

    /// The file `name` of another directory of the same disk, without its bytes being copied: what
    /// is done to one is done to both.
    ///
    /// # Errors
    /// When it is not there, or the disk has no second name for a file.
    pub fn linked(&self, directory: &Path, name: &str) -> Result<Staged, VolumeError> {
        let failed = || VolumeError::io("link", name);
        let from = Dir::open_ambient_dir(directory, ambient_authority()).map_err(failed())?;
        let fresh = format!("file-{:032x}", rand::random::<u128>());
        from.hard_link(name, &self.dir, &fresh).map_err(failed())?;
        let dir = self.dir.try_clone().map_err(failed())?;
        Ok(Staged { dir, name: fresh, file: None, lasting: self.lasting })
    }

    /// An upload's file, for writing from a byte on; it is made if it is not there. What is written
    /// is on disk once the caller has synced the file.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn part(&self, upload: &str, start: u64) -> Result<File, VolumeError> {
        self.open_upload(upload)
            .and_then(|mut file| file.seek(SeekFrom::Start(start)).map(|_| file))
            .map_err(VolumeError::io("write", upload))
    }

    /// The whole file of an upload, of which all parts have come.
    ///
    /// # Errors
    /// When it does not have this size, or cannot be read.
    pub fn whole(&self, upload: &str, size: u64) -> Result<Staged, VolumeError> {
        let name = data_name(upload);
        let failed = || VolumeError::io("finish", upload);
        let file = self.open_upload(upload).map_err(failed())?;
        if file.metadata().map_err(failed())?.len() != size {
            let why = "the parts are not as many bytes as were announced";
            return Err(VolumeError::Path { path: upload.to_owned(), why });
        }
        let dir = self.dir.try_clone().map_err(failed())?;
        Ok(Staged { dir, name, file: Some(file), lasting: self.lasting })
    }

    fn open_upload(&self, upload: &str) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        self.dir.open_with(data_name(upload), &options).map(|file| file.into_std())
    }

    /// Removes the file of an upload; one that is not there is no error.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn forget(&self, upload: &str) -> Result<(), VolumeError> {
        match self.dir.remove_file(data_name(upload)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(VolumeError::io("remove", upload)(error))
            }
            _ => Ok(()),
        }
    }

    /// Removes what a crash has left of single files. Files of uploads stay: they go on.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn sweep(&self) -> Result<(), VolumeError> {
        let failed = || VolumeError::io("tidy", "the files that are not whole");
        for found in self.dir.entries().map_err(failed())? {
            let found = found.map_err(failed())?;
            if found.file_name().to_string_lossy().starts_with("file-") {
                let _ = found.remove_file();
            }
        }
        Ok(())
    }
}

fn data_name(upload: &str) -> String {
    format!("upload-{upload}")
}

impl Staged {
    /// Adds bytes at the end.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), VolumeError> {
        match &mut self.file {
            Some(file) => file.write_all(bytes).map_err(VolumeError::io("write", &*self.name)),
            None => Ok(()),
        }
    }

    /// Adds the content of another file.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn copy_from(&mut self, mut source: File) -> Result<(), VolumeError> {
        match &mut self.file {
            Some(file) => {
                let copied = io::copy(&mut source, file).map(drop);
                copied.map_err(VolumeError::io("write", &*self.name))
            }
            None => Ok(()),
        }
    }

    /// Makes the file one that may be executed, or not.
    ///
    /// # Errors
    /// When it cannot be.
    pub fn set_executable(&self, executable: bool) -> Result<(), VolumeError> {
        let mode = Permissions::from_mode(if executable { 0o755 } else { 0o644 });
        match &self.file {
            Some(file) => file.set_permissions(mode).map_err(VolumeError::io("write", &*self.name)),
            None => Ok(()),
        }
    }

    /// Makes the file an account's own.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn give(&self, uid: u32, gid: u32) -> Result<(), VolumeError> {
        match &self.file {
            Some(file) => {
                let given = std::os::unix::fs::fchown(file, Some(uid), Some(gid));
                given.map_err(VolumeError::io("hand over", &*self.name))
            }
            None => Ok(()),
        }
    }

    /// Makes the file one that its owner, too, can only read.
    ///
    /// # Errors
    /// When it cannot be.
    pub fn set_read_only(&self) -> Result<(), VolumeError> {
        match &self.file {
            Some(file) => file
                .set_permissions(Permissions::from_mode(0o444))
                .map_err(VolumeError::io("write", &*self.name)),
            None => Ok(()),
        }
    }

    pub(crate) fn is_lasting(&self) -> bool {
        self.lasting
    }

    /// Moves the file to its place, once its bytes are on disk.
    pub(crate) fn rename(mut self, to: &Dir, path: &VolumePath) -> Result<(), VolumeError> {
        let failed = || VolumeError::io("write", path.as_str());
        if let Some(file) = self.file.take().filter(|_| self.lasting) {
            file.sync_all().map_err(failed())?;
        }
        self.dir.rename(&self.name, to, path.relative()).map_err(failed())?;
        self.name.clear();
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.name.is_empty() && self.name.starts_with("file-") {
            let _ = self.dir.remove_file(&self.name);
        }
    }
}
