//! The checks, one file each. Each gives what it found, or why it could not find anything.

mod call;
mod cancellation;
mod detached;
mod environment;
mod files;
mod gateway_only;
mod gauges;
mod gone;
mod matmul;
mod memory;
mod network;
mod streaming;

pub(super) use call::call;
pub(super) use cancellation::cancellation;
pub(super) use detached::detached;
pub(super) use environment::environment;
pub(super) use files::{Forbidden, files};
pub(super) use gateway_only::gateway_only;
pub(super) use gauges::gauges;
pub(super) use matmul::{Library, matmul};
pub(super) use memory::{buffers, memory};
pub(super) use network::network;
pub(super) use streaming::streaming;

use crate::report::{Check, Status};

/// What a check found.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    pub(super) status: Status,
    pub(super) text: String,
    pub(super) fix: Option<String>,
}

impl Found {
    fn ok(text: impl Into<String>) -> Self {
        Self { status: Status::Ok, text: text.into(), fix: None }
    }

    fn warn(text: impl Into<String>) -> Self {
        Self { status: Status::Warn, text: text.into(), fix: None }
    }

    fn fail(text: impl Into<String>) -> Self {
        Self { status: Status::Fail, text: text.into(), fix: None }
    }

    /// What is left when the worker has ended.
    pub(super) fn of_left(containers: usize) -> Self {
        match containers {
            0 => Self::ok("the worker ended, and no container is left"),
            left => Self::fail(format!("{left} containers are left after the worker has ended")),
        }
    }

    fn fix(self, fix: impl Into<String>) -> Self {
        Self { fix: Some(fix.into()), ..self }
    }
}

/// Does a check and takes its time. What could not be found out counts as what does not work.
pub(super) async fn timed(
    name: &'static str,
    work: impl Future<Output = anyhow::Result<Found>>,
) -> Check {
    let begun = std::time::Instant::now();
    let found = work.await.unwrap_or_else(|error| Found::fail(format!("{error:#}")));
    Check {
        name,
        status: found.status,
        found: found.text,
        fix: found.fix,
        seconds: Some(begun.elapsed().as_secs_f64()),
    }
}
