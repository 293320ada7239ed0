//! Building environments before anybody calls them.

use std::sync::Arc;

use metal9_env::{Environment, Progress};
use metal9_types::{EnvLock, ImageSpec, RootSource};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::container::Workshop;
use crate::event::{BuildTask, Event, NotBuilt};
use crate::manager::Manager;

/// Lines of a build that can wait to be told; more are lost.
const LINES: usize = 1024;

impl Manager {
    pub(super) fn build(&mut self, build: u64, image_spec: String, task: BuildTask) {
        if self.builds.contains_key(&build) {
            tracing::warn!(build, "a build was ordered twice");
            return;
        }
        let cancelled = CancellationToken::new();
        self.builds.insert(build, cancelled.clone().drop_guard());
        let (slots, tools) = (self.build_slots.clone(), self.tools.clone());
        metal9_tasks::spawn_infallible("image-build", async move {
            let (lines, mut inbox) = mpsc::channel(LINES);
            let forward = async {
                while let Some(text) = inbox.recv().await {
                    let _ = tools.events.send(Event::BuildProgress { build, text }).await;
                }
            };
            let make = async {
                let _slot = slots.acquire_owned().await;
                make(&tools.workshop, &image_spec, task, lines).await
            };
            let (outcome, ()) = tokio::join!(cancelled.run_until_cancelled(make), forward);
            let outcome = match outcome {
                Some(Ok((lock, environment))) => {
                    if let Some(environment) = environment {
                        let _ = tools.events.send(Event::Prepared(environment)).await;
                    }
                    Ok(lock)
                }
                Some(Err(error)) => Err(error),
                None => {
                    let text = "nobody waits for the image any more".to_owned();
                    Err(NotBuilt { text, is_final: false })
                }
            };
            let _ = tools.events.send(Event::Built { build, outcome }).await;
        });
    }
}

async fn make(
    workshop: &Workshop,
    image_spec: &str,
    task: BuildTask,
    lines: mpsc::Sender<String>,
) -> Result<(EnvLock, Option<Environment>), NotBuilt> {
    let image: ImageSpec = serde_json::from_str(image_spec).map_err(|error| {
        let text = format!("the image's specification could not be understood: {error}");
        NotBuilt { text, is_final: false }
    })?;
    let has_root = image.root() != RootSource::Host;
    let refusals = image.refusals();
    if !refusals.is_empty() {
        let texts: Vec<String> = refusals.iter().map(ToString::to_string).collect();
        return Err(NotBuilt { text: texts.join("\n"), is_final: true });
    }
    let progress: Progress = Arc::new(move |line: &str| {
        let _ = lines.try_send(line.to_owned());
    });
    match task {
        BuildTask::Here { means, .. } if has_root => {
            Ok((workshop.build_root(&image, &means, &progress).await?, None))
        }
        _ if has_root => {
            let text = "containers are Linux's, and the image is the root of one".to_owned();
            Err(NotBuilt { text, is_final: true })
        }
        BuildTask::Here { macos, .. } => {
            let (lock, environment) = workshop.build(&image, macos, &progress).await?;
            Ok((lock, Some(environment)))
        }
        BuildTask::Resolve(Some(target)) => Ok((workshop.resolve(&image, target).await?, None)),
        BuildTask::Resolve(None) => {
            let text = "this worker does not know the kind of machine".to_owned();
            Err(NotBuilt { text, is_final: false })
        }
    }
}
