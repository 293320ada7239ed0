//! A simulated fleet around the scheduler: clients, a gateway with its store, a network and
//! workers, in virtual time and from one seed.
//!
//! Only [`metal9_core::Core`] is real. Everything around it is modelled on the shells it lives in,
//! faults included: processes crash, machines freeze or lose power, links stall, connections are
//! reset, the gateway restarts with some of its writes on disk and some not. The same script always
//! gives the same run.
//!
//! # Run
//!
//! ```text
//! cargo xtask sim                                         1,000 workers, 100,000 tasks, seed 1
//! cargo xtask sim --seed 7 --seeds 50 --workers 20 --tasks 2000
//! cargo run -p metal9-sim --release -- --seed 7 --workers 20 --tasks 2000 --print
//! ```
//!
//! The last prints what is drawn from the seed as a [`script`] instead of running it. A run that
//! breaks a rule ends there; its script is shrunk ([`shrink()`]) and printed.
//!
//! # Replay
//!
//! Save what was printed and run it line by line, with everything that happens told:
//!
//! ```text
//! cargo run -p metal9-sim -- --script failing.txt
//! ```
//!
//! # Add a scenario
//!
//! Put a script into `crates/sim/tests/scripts/`, with a comment at its top that says what should
//! happen and why. `METAL9_UPDATE_GOLDEN=1 cargo test -p metal9-sim` writes what it says to
//! `tests/golden/`; read that before it is committed. The commands are in [`script`]; a new one
//! needs a [`script::Command`], a line in `script/parse.rs` and `script/print.rs`, and an arm in
//! `World::apply`.
//!
//! # Rules
//!
//! `metal9_core::check` after every step (or now and then in large fleets), and, without a look at
//! the scheduler's books (`world/ledger.rs`, `world/worker.rs`, `world/sweep.rs`,
//! `world/settle.rs`):
//!
//! - a client is told one end of its task, of a task that was accepted, and never another one,
//! - a task that completed was returned by an attempt that ran to its end,
//! - no attempt id is given twice, and no task is tried more often than it may be; each restart of
//!   the gateway may forget one attempt that was not on disk,
//! - a lost attempt is tried again while it may be; only who asked is cancelled; only a call with a
//!   limit times out,
//! - no worker runs more than it has, as it counts itself,
//! - an attempt that nobody wants runs on only while its worker cannot be told,
//! - once faults end, every task and every container comes to an end, and every worker is heard.

#![forbid(unsafe_code)]

mod draw;
mod plan;
pub mod script;
mod shrink;
mod world;

pub use plan::Plan;
pub use shrink::{Shrunk, shrink};
pub use world::{Flaw, Options, Summary, TaskReport, Violation, World};
