//! How one attempt ended.

use serde::{Deserialize, Serialize};

use crate::Failure;

/// What an attempt came to, without the result's bytes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallOutcome {
    /// The function returned.
    Returned,
    /// It did not.
    Failed(Failure),
}

/// A named part of the time an attempt took.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Phase {
    /// `environment`, `code`, `process`, `import` or `call`.
    pub name: String,
    /// Microseconds.
    pub micros: u64,
}
