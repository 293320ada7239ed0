//! A container that serves requests: a call that lasts until it is released, and the sockets by
//! which its processes are reached meanwhile.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use bytes::Bytes;
use metal9_types::{AttemptId, Failure, FailureKind, Phase};

use crate::container::call::halt;
use crate::container::in_step::Pace;
use crate::container::load::closed;
use crate::container::{Command, Container, Halt, Job, failure, phase};
use crate::errors::chain;
use crate::event::Event;
use crate::report::Ended;
use crate::runner::{ContainerDirectory, FromRunner, Happening, Runner, ToRunner};
use crate::tunnel::Open;
use crate::volumes::ground::LOST;
use crate::workspace::{self, Reloads};

const WHEN: &str = "while it served requests";

impl Container {
    /// Lets the processes be reached; nothing if they serve nothing.
    pub(super) fn open(&self, runner: &Runner) -> Option<Open> {
        (self.spec.processes > 0)
            .then(|| self.tools.sockets.open(self.id, runner.directory.path(), self.spec.processes))
    }

    /// Lets the code change, if somebody develops it.
    pub(super) async fn open_workspace(
        &self,
        runner: &Runner,
        job: &Job,
    ) -> Option<workspace::Open> {
        let makings = self.tools.workshop.makings().filter(|_| self.spec.is_developed())?;
        let directory = &runner.directory;
        let aside = ContainerDirectory::bare(directory.path().with_extension("incoming"));
        let owner = makings.launcher.guard.owner();
        let opened = match aside {
            Ok(aside) => {
                let (workspaces, code) = (&self.tools.workspaces, directory.code());
                let opening = workspaces.open(self.id, &code, aside, owner);
                opening.await.map_err(|error| chain(&error))
            }
            Err(error) => Err(error.to_string()),
        };
        match opened {
            Ok(open) => Some(open),
            Err(error) => {
                self.say(&job.sink, &format!("changes of the code cannot be taken: {error}")).await;
                None
            }
        }
    }

    /// Serves until it is released. What the application has started stays: it goes with the
    /// container. An error ends the container.
    pub(super) async fn serve_requests(
        &mut self,
        runner: &mut Runner,
        job: Job,
        mut phases: Vec<Phase>,
        workspace: Option<&mut workspace::Open>,
        answered: Arc<AtomicBool>,
    ) -> Result<(), Halt> {
        let Job { call, sink } = job;
        let attempt = call.attempt;
        runner.memory.set_busy(true);
        self.take_over(runner, &sink).await;
        runner.copies.owed = Some(sink.clone());
        runner.pump.attach(sink.clone()).await;
        let begun = Instant::now();
        if let Err(error) = runner.send(&call.frame(Bytes::new())).await {
            // The program's end, which comes next, says more.
            tracing::debug!(container = %self.id, %error, "could not say that requests come");
        }
        let mut never = Reloads::default();
        let reloads = workspace.map_or(&mut never, |open| &mut open.reloads);
        let keeper = self.keeper(runner, &sink, Pace::serving(answered));
        let mut volumes = std::mem::take(&mut runner.copies.volumes);
        let serving = self.until_released(runner, attempt, reloads);
        let released = keeper.during(&mut volumes, serving).await;
        runner.copies.volumes = volumes;
        phases.push(phase("call", begun.elapsed()));
        match released {
            Ok(()) => {
                runner.pump.finish().await;
                // Its requests were answered: that something was not sent is in its log, and is tried again
                // with the next.
                let outcome = Ok(Bytes::new());
                let _ = self.write_volumes_back(&mut runner.copies, &sink, outcome).await;
                let ended = Ended { outcome: Ok(Bytes::new()), phases, reusable: true };
                self.tell(Event::Ended { attempt, ended }).await;
                Ok(())
            }
            Err(Halt::Failed { attempt, ended }) => {
                Err(Halt::Failed { attempt, ended: Ended { phases, ..ended } })
            }
            Err(halt) => Err(halt),
        }
    }

    async fn until_released(
        &mut self,
        runner: &mut Runner,
        attempt: AttemptId,
        reloads: &mut Reloads,
    ) -> Result<(), Halt> {
        let failure: Failure = loop {
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(Command::Release(wanted)) if wanted == attempt => return Ok(()),
                    Some(Command::Release(_)) => {}
                    Some(Command::Call(job)) => self.refuse(&job).await,
                    other => return Err(halt(attempt, other)),
                },
                happening = runner.happens() => match happening {
                    Happening::Message(FromRunner::Started { id }) if id == attempt.0 => {
                        self.tell(Event::Started(attempt)).await;
                    }
                    Happening::Message(FromRunner::Reloaded) => reloads.taken_up(),
                    Happening::Message(message) => {
                        tracing::debug!(container = %self.id, ?message, "said while it serves");
                    }
                    Happening::VolumesLost => break Failure::new(FailureKind::WorkerLost, LOST),
                    Happening::Memory(excess) => break runner.memory.failure(excess),
                    Happening::Broken(error) => break failure::nonsense(&error),
                    Happening::Closed => break closed(runner, WHEN).await,
                    Happening::Exit(exit) => break runner.explain(failure::crash(exit, WHEN)),
                },
                () = reloads.due() => {
                    if let Err(error) = runner.send(&ToRunner::Reload).await {
                        // The program's end, which comes next, says more.
                        tracing::debug!(container = %self.id, %error, "could not say that it changed");
                    }
                }
            }
        };
        Err(Halt::failed(attempt, failure, Vec::new()))
    }
}
