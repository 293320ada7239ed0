//! Named background tasks with an on-error policy.
//!
//! Nothing in metal9 is spawned anonymously: a task that panics or fails is logged under its name,
//! and a task the program cannot live without ends the program.

#![forbid(unsafe_code)]

use std::fmt::Display;
use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use tokio::task::JoinHandle;
pub use tokio_util::sync::CancellationToken;

/// What the end of a task means for the program.
#[derive(Clone, Debug)]
pub enum OnError {
    /// Log it and go on without the task.
    Log,
    /// Log it and cancel this token, so that the program shuts down.
    Shutdown(CancellationToken),
}

/// Runs `future` in the background under `name`.
///
/// An error or a panic is logged and handled as `on_error` says; a normal end is silent.
#[expect(clippy::disallowed_methods, reason = "this is the one place that spawns")]
pub fn spawn<F, E>(name: &'static str, on_error: OnError, future: F) -> JoinHandle<()>
where
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Display + Send + 'static,
{
    tokio::spawn(async move {
        match AssertUnwindSafe(future).catch_unwind().await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => tracing::error!(task = name, %error, "background task failed"),
            Err(panic) => {
                tracing::error!(
                    task = name,
                    panic = panic_text(&*panic),
                    "background task panicked"
                );
            }
        }
        if let OnError::Shutdown(token) = on_error {
            token.cancel();
        }
    })
}

/// Runs a future that cannot fail in the background under `name`; a panic is logged.
pub fn spawn_infallible<F>(name: &'static str, future: F) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    spawn(name, OnError::Log, async move {
        future.await;
        Ok::<(), std::convert::Infallible>(())
    })
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_vital_task_that_panics_ends_the_program() {
        let token = CancellationToken::new();
        let policy = OnError::Shutdown(token.clone());
        let handle = spawn("vital", policy, async { panic!("gone") as Result<(), String> });
        handle.await.unwrap();
        assert!(token.is_cancelled());
    }

    #[tokio::test]
    async fn a_lesser_task_that_fails_does_not() {
        let token = CancellationToken::new();
        spawn("lesser", OnError::Log, async { Err("no luck") }).await.unwrap();
        assert!(!token.is_cancelled());
    }
}
