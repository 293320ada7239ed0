//! The sandbox as a worker sees it, with real processes.

mod launch;
mod loss;
mod memory;
mod reap;
mod support;
