//! What a job on a Mac is started with: which files, which profile of the system's sandbox, which
//! steps. All of it is text and values, made by pure functions on every system; what carries them
//! out is the leaf `shim/darwin.rs`.

mod files;
mod plan;
mod profile;

pub use files::darwin_file_rules;
pub use plan::{Facts, Plan, PlanStep, plan};
pub use profile::{Profile, ProfileError, Reach, profile};
