//! Copies of volumes and buckets before and after a call.

use std::sync::Arc;

use bytes::Bytes;
use metal9_types::Failure;

use crate::container::in_step::{Keeper, Pace};
use crate::container::{Container, Halt};
use crate::output::Sink;
use crate::report::Ended;
use crate::runner::Runner;
use crate::volumes::{Copies, not_copied};

impl Container {
    /// Takes over what others have changed since the last call.
    pub(super) async fn refresh_volumes(
        &self,
        runner: &mut Runner,
        sink: &Sink,
    ) -> Result<(), Failure> {
        let mut changed = false;
        for copy in &mut runner.copies.buckets {
            let news = copy.refresh().await.map_err(|error| copy.bucket().failure(&error))?;
            changed |= news.changed;
            if let Some(note) = news.note {
                self.say(sink, &note).await;
            }
        }
        for volume in &mut runner.copies.volumes {
            changed |= volume.refresh().await.map_err(|error| not_copied(&error))?;
        }
        self.hand_over(&runner.copies, changed)
    }

    /// Takes over what others have changed since requests were served last. If that cannot be, they are
    /// served with what is there.
    pub(super) async fn take_over(&self, runner: &mut Runner, sink: &Sink) {
        let mut changed = false;
        for volume in &mut runner.copies.volumes {
            match volume.refresh().await {
                Ok(news) => changed |= news,
                Err(error) => self.say(sink, &not_copied(&error).message).await,
            }
        }
        if let Err(failure) = self.hand_over(&runner.copies, changed) {
            self.say(sink, &failure.message).await;
        }
    }

    fn hand_over(&self, copies: &Copies, changed: bool) -> Result<(), Failure> {
        if let (Some(directory), Some(makings)) = (&copies.directory, self.tools.workshop.makings())
            && changed
        {
            let path = directory.path();
            let handed = makings.launcher.guard.hand_over(path);
            handed.map_err(|error| super::failure::directory(path, &error))?;
        }
        Ok(())
    }

    /// What keeps the copies in step while programs work with them.
    pub(super) fn keeper(&self, runner: &Runner, sink: &Sink, pace: Pace) -> Keeper {
        let directory = runner.copies.directory.as_ref().map(|it| it.path().to_owned());
        Keeper {
            tools: Arc::clone(&self.tools),
            sink: sink.clone(),
            directory,
            pace,
            trouble: None,
        }
    }

    /// Sends what the call has changed, and tells the user what others had done meanwhile. A call
    /// whose changes cannot be kept has failed.
    pub(super) async fn write_volumes_back(
        &self,
        copies: &mut Copies,
        sink: &Sink,
        outcome: Result<Bytes, Failure>,
    ) -> Result<Bytes, Failure> {
        copies.owed = None;
        let mut kept = Ok(());
        for volume in &mut copies.volumes {
            match volume.write_back(None).await {
                Ok(sent) => {
                    for note in sent.notes {
                        self.say(sink, &note).await;
                    }
                }
                Err(error) => {
                    let failure = not_copied(&error);
                    self.say(sink, &failure.message).await;
                    tracing::warn!(
                        attempt = %sink.attempt, trouble = failure.message,
                        "what a job has written is not kept"
                    );
                    kept = kept.and(Err(failure));
                }
            }
        }
        outcome.and_then(|outcome| kept.map(|()| outcome))
    }

    /// Sends what a call had changed that did not come to its own end.
    pub(super) async fn keep_written(&self, copies: &mut Copies, halt: Halt) -> Halt {
        let Some(sink) = copies.owed.take() else { return halt };
        let nothing = || Ok(Bytes::new());
        match halt {
            Halt::Failed { attempt, ended } => {
                let outcome = self.write_volumes_back(copies, &sink, ended.outcome).await;
                Halt::Failed { attempt, ended: Ended { outcome, ..ended } }
            }
            halt => {
                // Nobody asks any more how it ended; what went wrong was said.
                let _ = self.write_volumes_back(copies, &sink, nothing()).await;
                halt
            }
        }
    }
}
