//! Waiting for a state.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// How long a test waits for something that should happen at once; only a failing test gets there.
pub const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(10);

/// Asks again and again until `ask` gives an answer.
///
/// # Errors
/// When it gives none in time; the error tells the last thing that was seen.
pub async fn until<T, F, Fut>(what: &str, mut ask: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, String>>,
{
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let seen = match ask().await {
            Ok(answer) => return Ok(answer),
            Err(seen) => seen,
        };
        if tokio::time::Instant::now() > deadline {
            bail!("waited {PATIENCE:?} for {what}; last seen: {seen}");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits for a future that should be quick.
///
/// # Errors
/// When it is not.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(PATIENCE, future).await.with_context(|| format!("waiting for {what}"))
}
