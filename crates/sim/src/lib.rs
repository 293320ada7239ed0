//! A simulated fleet around the scheduler.

#![forbid(unsafe_code)]

mod draw;
mod plan;
pub mod script;
mod shrink;
mod world;

pub use plan::Plan;
pub use shrink::{Shrunk, shrink};
pub use world::{Flaw, Options, Summary, TaskReport, Violation, World};
