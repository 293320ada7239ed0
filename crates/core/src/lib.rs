//! The scheduler: a clockless state machine that turns inputs into actions.
//!
//! [`Core::handle`] takes the time and one [`Input`] and appends [`Action`]s; [`Core::next_deadline`]
//! says when it wants to hear a [`Input::Timer`]. Nothing here does I/O, reads a clock, draws a
//! random number or waits.
//!
//! ```text
//!              Submit                        Assign                    Finished
//!   (recovered) │ │ (new)   ┌────────────────────────────┐         ┌─────────────► ended
//!               ▼ ▼         │                            ▼         │
//!        Recovering ───► Queued ◄──── retry left ──── Assigned ────┤
//!               │           │                            ▲         │
//!               │           └── ttl, cancel ──► ended    │         └─ no retry left ─► ended
//!               └────────── a worker has it ─────────────┘
//! ```
//!
//! The happy path: `on/submit.rs` puts a task into the queue of its workspace and stub,
//! `schedule/` finds an idle container of the stub or room for a new one with the help of the pure
//! functions in `place.rs`, `steps/` carries the move out in every index, and `on/attempt.rs`
//! ends the task when its worker reports. A task that has ended is forgotten at once, so whatever
//! still arrives for it is [`Ignored`].

#![forbid(unsafe_code)]

mod action;
mod core;
mod explain;
mod input;
mod invariants;
mod on;
mod place;
mod query;
mod schedule;
mod state;
mod steps;

#[cfg(test)]
mod tests;

pub use action::{Action, Ignored, Transition};
pub use core::Core;
pub use explain::Explanation;
pub use input::{
    AttemptReport, Config, Input, Pace, Reattach, StubSpec, TaskSpec, WorkerHello, WorkspaceRules,
};
pub use invariants::{Violation, check};
pub use query::{ContainerPhase, ContainerView, Counts, TaskView, WorkerView};
