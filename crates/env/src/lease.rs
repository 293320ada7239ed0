//! Keeping an environment while somebody uses it.

use std::fmt;
use std::fs::File;
use std::sync::Arc;

/// Keeps an environment from being removed for as long as it, or a clone of it, is there; also
/// from a process that shares the directory.
#[derive(Clone, Default)]
pub struct Lease(Option<Arc<File>>);

impl Lease {
    /// A lease that is the share of a lock.
    pub(crate) fn new(shared: File) -> Self {
        Self(Some(Arc::new(shared)))
    }
}

/// An environment is the same whoever holds it.
impl PartialEq for Lease {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Lease {}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Lease" } else { "Lease(none)" })
    }
}
