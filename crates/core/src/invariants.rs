//! Checking that the scheduler's books balance.
//!
//! Everything that is kept twice for speed is counted again from its one source. Slow: for tests,
//! and for a look now and then in production.

mod books;
mod deadlines;
mod placement;

use std::fmt::Debug;

use crate::core::Core;

/// A statement about the scheduler that should always hold and does not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{invariant} does not hold for {subject}")]
pub struct Violation {
    /// The statement's name.
    pub invariant: &'static str,
    /// What it does not hold for.
    pub subject: String,
}

/// Checks everything that should always hold between two inputs.
///
/// # Errors
/// The first statement that does not hold.
pub fn check(core: &Core) -> Result<(), Violation> {
    placement::check(core)?;
    books::check(core)?;
    deadlines::check(core)
}

/// A violation unless `holds`.
fn ensure(holds: bool, invariant: &'static str, subject: impl Debug) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation { invariant, subject: format!("{subject:?}") }) }
}
