//! When code that changes is started anew: a moment after its last change, since one save is often
//! several, and not before the last start was taken up.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// How long nothing may have changed.
const QUIET: Duration = Duration::from_millis(150);

/// How long it is put off at most.
const MOST: Duration = Duration::from_secs(2);

/// The changes of one container's code.
#[derive(Debug, Default)]
pub(crate) struct Reloads {
    /// Nothing if it does not change.
    changed: Option<Arc<Notify>>,
    /// The first and the last change that no start has followed yet.
    since: Option<(Instant, Instant)>,
    /// The code was told to start anew and has not said that it does.
    pending: bool,
}

impl Reloads {
    pub(super) fn new(changed: Arc<Notify>) -> Self {
        Self { changed: Some(changed), ..Self::default() }
    }

    /// Resolves when the code is to be started anew. Can be dropped and called again.
    pub(crate) async fn due(&mut self) {
        let Some(changed) = self.changed.clone() else { return std::future::pending().await };
        loop {
            let at = self.since.map(|(first, last)| (last + QUIET).min(first + MOST));
            tokio::select! {
                biased;
                () = changed.notified() => {
                    let now = Instant::now();
                    self.since = Some((self.since.map_or(now, |(first, _)| first), now));
                }
                () = until(at), if at.is_some() && !self.pending => {
                    self.since = None;
                    self.pending = true;
                    return;
                }
            }
        }
    }

    /// The code is started anew.
    pub(crate) fn taken_up(&mut self) {
        self.pending = false;
    }
}

async fn until(at: Option<Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at).await;
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn reloads() -> (Arc<Notify>, Reloads) {
        let changed = Arc::new(Notify::new());
        (Arc::clone(&changed), Reloads::new(changed))
    }

    #[tokio::test(start_paused = true)]
    async fn several_changes_are_one_start_and_it_is_put_off_only_so_long() {
        let (changed, mut reloads) = reloads();
        let begun = Instant::now();
        let saving = async {
            for _ in 0..100 {
                changed.notify_one();
                tokio::time::sleep(QUIET / 3).await;
            }
        };
        let mut saving = Box::pin(saving);
        tokio::select! {
            () = reloads.due() => {}
            () = &mut saving => panic!("it was put off for ever"),
        }
        assert!(begun.elapsed() >= MOST && begun.elapsed() < MOST + QUIET);
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_during_a_start_is_followed_by_another() {
        let (changed, mut reloads) = reloads();
        changed.notify_one();
        reloads.due().await;
        changed.notify_one();
        let waiting = tokio::time::timeout(MOST * 2, reloads.due());
        assert!(waiting.await.is_err(), "the last start was not taken up yet");
        reloads.taken_up();
        reloads.due().await;
        reloads.taken_up();
        assert!(tokio::time::timeout(MOST * 2, reloads.due()).await.is_err(), "nothing changed");
    }

    #[tokio::test]
    async fn what_does_not_change_is_never_due() {
        assert!(Reloads::default().due().now_or_never().is_none());
    }
}
