//! Code archives that somebody else made: looked through before they are kept, unpacked without
//! trusting them.
//!
//! The gateway looks through an archive when it arrives ([`inspect`]), so that a bad one costs
//! nothing later. The worker unpacks it ([`unpack`]) and believes nothing: the same rules are
//! applied again, and sizes are counted as they are written, since those in an archive can lie.

#![forbid(unsafe_code)]

mod bounds;
mod budget;
mod content;
mod directory;
mod error;
mod inspect;
mod listing;
mod merge;
mod open;
mod unpack;

#[cfg(test)]
mod tests;

pub use bounds::Bounds;
pub use budget::{Budget, Budgeted};
pub use content::content_hash;
pub use error::ArchiveError;
pub use inspect::{Summary, inspect};
pub use merge::merge;
pub use unpack::unpack;
