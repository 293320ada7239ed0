//! Copies of volumes and buckets before and after a call.

use bytes::Bytes;
use metal9_types::Failure;

use crate::container::Container;
use crate::output::Sink;
use crate::runner::Runner;
use crate::volumes::not_copied;

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
        if let (Some(directory), Some(makings)) =
            (&runner.copies.directory, self.tools.workshop.makings())
            && changed
        {
            let path = directory.path();
            let handed = makings.launcher.guard.hand_over(path);
            handed.map_err(|error| super::failure::directory(path, &error))?;
        }
        Ok(())
    }

    /// Sends what the call has changed, and tells the user what others had done meanwhile. A call
    /// whose changes cannot be kept has failed.
    pub(super) async fn write_volumes_back(
        &self,
        runner: &mut Runner,
        sink: &Sink,
        outcome: Result<Bytes, Failure>,
    ) -> Result<Bytes, Failure> {
        for volume in &mut runner.copies.volumes {
            match volume.write_back().await {
                Ok(notes) => {
                    for note in notes {
                        self.say(sink, &note).await;
                    }
                }
                Err(error) => {
                    let failure = not_copied(&error);
                    self.say(sink, &failure.message).await;
                    return outcome.and(Err(failure));
                }
            }
        }
        outcome
    }
}
