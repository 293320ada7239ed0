//! The buckets of a container that is made ready.

use std::path::Path;
use std::sync::Arc;

use metal9_sandbox::Network;
use metal9_types::Failure;

use crate::buckets::{BucketCopy, BucketError, Kept};
use crate::container::{Container, Job, Makings};
use crate::volumes::Mounted;

impl Container {
    /// Copies its buckets into directories below `path`, and adds where they are mounted.
    pub(super) async fn buckets(
        &self,
        makings: &Makings,
        job: &Job,
        path: &Path,
        mounts: &mut Vec<Mounted>,
    ) -> Result<Vec<BucketCopy>, Failure> {
        let guard = &makings.launcher.guard;
        let kept = Kept {
            blobs: Arc::clone(&makings.blobs),
            // Files become another account's when they are handed over, and all names of them.
            shared: guard.keeps_from_writing() && guard.owner().is_none(),
        };
        let mut made = Vec::with_capacity(self.spec.buckets.len());
        for (index, bucket) in self.spec.buckets.iter().enumerate() {
            // A job must not reach through the worker what it may not reach itself.
            if guard.network() != Network::Full {
                let error = BucketError::Network { bucket: bucket.name.clone() };
                return Err(bucket.failure(&error));
            }
            let directory = path.join(format!("bucket-{index}"));
            let place = bucket.place.clone();
            mounts.push(Mounted { directory: directory.clone(), place, read_only: true });
            let making = BucketCopy::make(bucket.clone(), directory, kept.clone());
            let (copy, news) = making.await.map_err(|error| bucket.failure(&error))?;
            if let Some(note) = news.note {
                self.say(&job.sink, &note).await;
            }
            made.push(copy);
        }
        Ok(made)
    }
}
