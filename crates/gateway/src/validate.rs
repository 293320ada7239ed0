//! What clients ask for, checked before it costs anything: pure functions, one kind a file.
//!
//! Every refusal says what was asked, why it cannot be, and what to do instead. The limits are
//! listed for users in `docs/limits.md`.

pub(crate) mod allow_list;
pub(crate) mod buckets;
pub(crate) mod environment;
pub(crate) mod gpu;
pub(crate) mod image;
pub(crate) mod mounts;
pub(crate) mod names;
pub(crate) mod policy;
pub(crate) mod quota;
pub(crate) mod resources;
pub(crate) mod runtime;
pub(crate) mod schema;
pub(crate) mod serving;

#[cfg(test)]
mod tests;

use crate::error::ApiError;

/// A refusal: what and why, and what to do.
pub(crate) fn refuse(what: impl std::fmt::Display, hint: &str) -> ApiError {
    ApiError::Invalid(format!("{what}\nhint: {hint}"))
}

/// Characters of a bad text that messages show.
const SHOWN: usize = 60;

/// A text as messages show it: short, and without characters that a terminal obeys.
pub(crate) fn shown(text: &str) -> String {
    let mut short: String =
        text.chars().take(SHOWN).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(SHOWN).is_some() {
        short.push('…');
    }
    short
}
