//! The whole path on this machine: a gateway and a worker of its own, and jobs that try it out.

mod checks;
mod client;
mod fleet;
mod jobs;
mod run;

pub(crate) use run::{Options, Report, run};
