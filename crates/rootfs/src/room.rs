//! How much of an image there may still be.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::RootfsError;
use crate::images::Settings;

/// What may still be unpacked of one image, shared by its layers, and whether anybody wants it.
#[derive(Debug)]
pub(crate) struct Room {
    bytes: u64,
    bytes_left: AtomicU64,
    entries: u64,
    entries_left: AtomicU64,
    abandoned: AtomicBool,
}

impl Room {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            bytes: settings.max_image_bytes,
            bytes_left: AtomicU64::new(settings.max_image_bytes),
            entries: settings.max_entries,
            entries_left: AtomicU64::new(settings.max_entries),
            abandoned: AtomicBool::new(false),
        }
    }

    /// Takes room for bytes of files.
    pub(crate) fn take_bytes(&self, bytes: u64) -> Result<(), RootfsError> {
        take(&self.bytes_left, bytes).ok_or_else(|| RootfsError::TooLarge {
            what: "the image, unpacked,".to_owned(),
            limit: self.bytes,
        })
    }

    /// Takes room for one file or directory.
    pub(crate) fn take_entry(&self) -> Result<(), RootfsError> {
        take(&self.entries_left, 1).ok_or(RootfsError::TooMany { limit: self.entries })
    }

    /// Work for it that is still going on ends.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }
}

fn take(left: &AtomicU64, amount: u64) -> Option<()> {
    let less = |left: u64| left.checked_sub(amount);
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok().map(|_| ())
}

/// Abandons the room when it is dropped: those who unpack in a thread of their own cannot be.
#[derive(Debug)]
pub(crate) struct Abandon(pub(crate) Arc<Room>);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// The first limit that was hit. Readers can only say that something went wrong: libraries between
/// them and us turn errors into their own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tripped(Arc<Mutex<Option<RootfsError>>>);

impl Tripped {
    pub(crate) fn trip(&self, error: RootfsError) -> io::Error {
        let text = error.to_string();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        io::Error::other(text)
    }

    pub(crate) fn take(&self) -> Option<RootfsError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A reader of a layer's bytes, unpacked, that gives up at the limit of a layer.
pub(crate) struct Limited<R> {
    pub(crate) inner: R,
    pub(crate) room: Arc<Room>,
    pub(crate) tripped: Tripped,
    pub(crate) what: String,
    pub(crate) limit: u64,
    pub(crate) left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.room.abandoned.load(Ordering::Relaxed) {
            return Err(io::Error::other("nobody wants it any more"));
        }
        let count = self.inner.read(buffer)?;
        match self.left.checked_sub(count as u64) {
            Some(left) => self.left = left,
            None => {
                let (what, limit) = (self.what.clone(), self.limit);
                return Err(self.tripped.trip(RootfsError::TooLarge { what, limit }));
            }
        }
        Ok(count)
    }
}
