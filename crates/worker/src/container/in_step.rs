//! Copies of volumes are kept in step while programs work with them: a call that takes long, and
//! containers that serve requests, do not keep what they write to themselves until they end.

use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::container::Tools;
use crate::errors::chain;
use crate::output::Sink;
use crate::volumes::copy::{CopyError, VolumeCopy};
use crate::volumes::not_copied;

/// How long a call runs before its changes are sent for the first time; then twice as long each time.
const FIRST: Duration = Duration::from_secs(3);
/// The longest a call goes on between.
const LONGEST: Duration = Duration::from_secs(30);
/// How long a file must have been left alone, in a call.
const CALL_QUIET: Duration = Duration::from_secs(2);

/// How often a container that serves is looked at while it answers.
const ANSWERING: Duration = Duration::from_secs(1);
/// How often while it does not.
const SILENT: Duration = Duration::from_secs(10);
/// How long a file must have been left alone, in a container that serves.
const SERVING_QUIET: Duration = Duration::from_millis(500);

/// What a look costs may be this part of the time.
const SHARE: u32 = 20;

/// When copies are looked at.
#[derive(Debug)]
pub(super) enum Pace {
    /// Of a call: seldom.
    Call { next: Duration },
    /// Of a container that serves requests: a moment after its answers.
    Serving { answered: Arc<AtomicBool>, since: Instant, left: bool },
}

impl Pace {
    pub(super) fn call() -> Self {
        Self::Call { next: FIRST }
    }

    /// Is told of answers by a flag.
    pub(super) fn serving(answered: Arc<AtomicBool>) -> Self {
        Self::Serving { answered, since: Instant::now(), left: false }
    }

    /// How long to wait, after a look that took so long.
    fn wait(&mut self, cost: Duration) -> Duration {
        let wait = match self {
            Self::Call { next } => std::mem::replace(next, (*next * 2).min(LONGEST)),
            Self::Serving { .. } => ANSWERING,
        };
        wait.max(cost * SHARE)
    }

    /// Whether there is a reason to look.
    fn is_due(&mut self) -> bool {
        match self {
            Self::Call { .. } => true,
            Self::Serving { answered, since, left } => {
                let due = answered.swap(false, Ordering::Relaxed)
                    || std::mem::take(left)
                    || since.elapsed() >= SILENT;
                if due {
                    *since = Instant::now();
                }
                due
            }
        }
    }
}

/// What keeps a container's copies in step.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) tools: Arc<Tools>,
    /// Who is told what has to be.
    pub(super) sink: Sink,
    /// What the copies are in.
    pub(super) directory: Option<PathBuf>,
    pub(super) pace: Pace,
    /// What was told last that went wrong.
    pub(super) trouble: Option<String>,
}

impl Keeper {
    /// Keeps copies in step for as long as something lasts. A look that is under way then is brought to
    /// its end: what was sent and not noted would look like another's change, and all of it would have to
    /// be sent next anyway.
    pub(super) async fn during<T>(
        mut self,
        volumes: &mut [VolumeCopy],
        work: impl Future<Output = T>,
    ) -> T {
        if volumes.is_empty() {
            return work.await;
        }
        let mut work = pin!(work);
        let mut cost = Duration::ZERO;
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = tokio::time::sleep(self.pace.wait(cost)) => {}
            }
            if !self.pace.is_due() {
                continue;
            }
            let begun = Instant::now();
            let (looked, done) = both(self.look(volumes), work.as_mut()).await;
            match looked {
                Ok(some) => {
                    self.trouble = None;
                    if let Pace::Serving { left, .. } = &mut self.pace {
                        *left = some;
                    }
                }
                Err(error) => self.told(not_copied(&error).message).await,
            }
            if let Some(done) = done {
                return done;
            }
            cost = begun.elapsed();
        }
    }

    /// Says once what goes wrong each time.
    async fn told(&mut self, trouble: String) {
        if self.trouble.as_ref() != Some(&trouble) {
            tracing::warn!(attempt = %self.sink.attempt, trouble, "a volume is behind its copy");
            self.tools.say(&self.sink, &trouble).await;
            self.trouble = Some(trouble);
        }
    }

    /// Sends what can be sent and, for those who serve, takes over what others have changed. Tells
    /// whether something was left for later.
    async fn look(&self, volumes: &mut [VolumeCopy]) -> Result<bool, CopyError> {
        let serves = matches!(self.pace, Pace::Serving { .. });
        let quiet = if serves { SERVING_QUIET } else { CALL_QUIET };
        let (mut left, mut changed) = (false, false);
        for volume in volumes {
            let sent = volume.write_back(Some(quiet)).await?;
            left |= sent.left;
            for note in sent.notes {
                self.tools.say(&self.sink, &note).await;
            }
            if serves {
                changed |= volume.refresh().await?;
            }
        }
        if changed {
            self.hand_over().await;
        }
        Ok(left)
    }

    /// Gives what is new to the account that jobs run as.
    async fn hand_over(&self) {
        let (tools, directory) = (Arc::clone(&self.tools), self.directory.clone());
        let handing = tokio::task::spawn_blocking(move || {
            let guard = tools.workshop.makings().map(|makings| &makings.launcher.guard);
            guard.zip(directory).map_or(Ok(()), |(guard, path)| guard.hand_over(&path))
        });
        if let Ok(Err(error)) = handing.await {
            tracing::warn!(error = chain(&error), "the job may not reach what is new in a copy");
        }
    }
}

/// Waits for the first, and tells what the other has come to if it is over by then.
async fn both<A, B>(
    first: impl Future<Output = A>,
    mut other: Pin<&mut impl Future<Output = B>>,
) -> (A, Option<B>) {
    let mut first = pin!(first);
    let mut done = None;
    loop {
        tokio::select! {
            first = &mut first => return (first, done),
            other = &mut other, if done.is_none() => done = Some(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_looked_at_less_and_less_often_and_never_much_of_the_time() {
        let mut pace = Pace::call();
        let waits: Vec<_> = (0..6).map(|_| pace.wait(Duration::ZERO).as_secs()).collect();
        assert_eq!(waits, [3, 6, 12, 24, 30, 30]);
        assert_eq!(pace.wait(Duration::from_secs(2)), Duration::from_secs(40));
        assert!(pace.is_due());
    }

    #[tokio::test]
    async fn what_was_begun_is_waited_for() {
        let (send, receive) = tokio::sync::oneshot::channel();
        let mut work = pin!(async move { send.send(5).unwrap() });
        let (first, done) = both(receive, work.as_mut()).await;
        assert_eq!((first, done), (Ok(5), Some(())));
        let mut never = pin!(std::future::pending::<()>());
        assert_eq!(both(async { 1 }, never.as_mut()).await, (1, None));
    }

    #[test]
    fn a_container_that_serves_is_looked_at_after_its_answers_until_nothing_is_left() {
        let answered = Arc::new(AtomicBool::new(false));
        let mut pace = Pace::serving(Arc::clone(&answered));
        assert!(!pace.is_due(), "nothing was answered yet");
        answered.store(true, Ordering::Relaxed);
        assert!(pace.is_due() && !pace.is_due());
        let Pace::Serving { left, .. } = &mut pace else { unreachable!() };
        *left = true;
        assert!(pace.is_due() && !pace.is_due());
    }
}
