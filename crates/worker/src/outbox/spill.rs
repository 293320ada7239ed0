//! Text that is not kept in memory: one file per attempt, made when it is first needed.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// The largest such file, in bytes. Its front is not reused until it is empty, so a job that never
/// lets it become so gets no more of it: then memory has to do, which the budget bounds.
const FILE_BYTES: u64 = 64 * 1024 * 1024;

/// Where in the file a text is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    offset: u64,
    length: usize,
}

impl Place {
    pub(crate) fn length(self) -> usize {
        self.length
    }
}

/// The file; removed with its owner.
#[derive(Debug)]
pub(crate) struct Spill {
    path: PathBuf,
    file: Option<File>,
    end: u64,
}

impl Spill {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, file: None, end: 0 }
    }

    /// Appends a text; nothing if there is no place for it.
    ///
    /// These are writes of at most a few hundred KiB to the page cache, cheaper than handing them
    /// to another thread.
    pub(crate) fn write(&mut self, text: &str) -> Option<Place> {
        let place = Place { offset: self.end, length: text.len() };
        if self.end + text.len() as u64 > FILE_BYTES {
            return None;
        }
        match self.try_write(text, place.offset) {
            Ok(()) => {
                self.end += text.len() as u64;
                Some(place)
            }
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "could not spill output");
                None
            }
        }
    }

    /// Appends to the text at a place; `false` if that is not the last one or there is no place.
    pub(crate) fn extend(&mut self, place: &mut Place, text: &str) -> bool {
        let last = place.offset + place.length as u64 == self.end;
        let extended = last && self.write(text).is_some();
        if extended {
            place.length += text.len();
        }
        extended
    }

    fn try_write(&mut self, text: &str, offset: u64) -> io::Result<()> {
        metal9_faults::point_blocking("worker-disk");
        let file = match &self.file {
            Some(file) => file,
            None => {
                let mut options = File::options();
                options.read(true).write(true).create(true).truncate(true);
                self.file.insert(options.open(&self.path)?)
            }
        };
        file.write_all_at(text.as_bytes(), offset)
    }

    /// The text at a place. What the disk has lost is said in its stead.
    pub(crate) fn read(&self, place: Place) -> String {
        let mut bytes = vec![0; place.length];
        let read = match &self.file {
            Some(file) => file.read_exact_at(&mut bytes, place.offset),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        match read {
            Ok(()) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) => {
                tracing::error!(path = %self.path.display(), %error, "spilled output is lost");
                format!("[{} bytes of output were lost on the worker: {error}]\n", place.length)
            }
        }
    }

    /// Nothing of what was written is needed any more.
    pub(crate) fn clear(&mut self) {
        if self.end > 0 {
            self.file = None;
            self.end = 0;
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Drop for Spill {
    fn drop(&mut self) {
        self.clear();
    }
}
