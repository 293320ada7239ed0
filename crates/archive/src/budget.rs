//! Reading no more than one has decided to.

use std::cell::Cell;
use std::io::{self, Read, Seek, SeekFrom};
use std::rc::Rc;

/// Bytes that may still be read; shared, since whoever parses an archive owns its reader. Without a
/// limit everything may be.
#[derive(Clone, Debug, Default)]
pub struct Budget(Rc<Cell<Option<u64>>>);

impl Budget {
    /// Lets so many bytes be read from now on.
    pub fn limit(&self, bytes: u64) {
        self.0.set(Some(bytes));
    }

    /// Lets everything be read from now on.
    pub fn lift(&self) {
        self.0.set(None);
    }
}

/// A reader that gives up when its budget is spent.
#[derive(Debug)]
pub struct Budgeted<R> {
    inner: R,
    budget: Budget,
    /// The error's text then.
    spent: &'static str,
}

impl<R> Budgeted<R> {
    /// Reads within a budget; `spent` is the text of the error when that is spent.
    pub fn new(inner: R, budget: Budget, spent: &'static str) -> Self {
        Self { inner, budget, spent }
    }
}

impl<R: Read> Read for Budgeted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        if let Some(left) = self.budget.0.get() {
            let left = left.checked_sub(count as u64);
            self.budget.0.set(Some(left.ok_or_else(|| io::Error::other(self.spent))?));
        }
        Ok(count)
    }
}

impl<R: Seek> Seek for Budgeted<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}
