//! One call in a container that is loaded.

use std::time::{Duration, Instant};

use bytes::Bytes;
use metal9_juicefs::Sound;
use metal9_types::{AttemptId, Failure, FailureKind, Phase};

use crate::container::in_step::Pace;
use crate::container::load::closed;
use crate::container::{Arguments, Call, Command, Container, Halt, Job, failure, phase};
use crate::event::Event;
use crate::output::Sink;
use crate::report::Ended;
use crate::runner::{CancelReason, FromRunner, Happening, Runner};
use crate::volumes::ground::LOST;
use crate::volumes::silent;

/// How much longer than its timeout a call may run before the worker ends it by itself; the
/// gateway does so first unless it cannot be reached.
const TIMEOUT_GRACE: Duration = Duration::from_secs(5);

const WHEN: &str = "before it returned";

/// What a call that is over came to.
struct Answer {
    outcome: Result<Bytes, Failure>,
    /// The process takes no further call.
    spent: bool,
}

impl Container {
    /// Runs a call and tells its end. An error ends the container.
    pub(super) async fn call(
        &mut self,
        runner: &mut Runner,
        job: Job,
        mut phases: Vec<Phase>,
    ) -> Result<(), Halt> {
        match runner.copies.ground.look().await {
            Sound::Yes => {}
            Sound::No => return Err(Halt::Anew(Box::new(job))),
            Sound::Unknown => {
                let (attempt, failure) = (job.call.attempt, silent());
                self.say(&job.sink, &failure.message).await;
                let ended = Ended { outcome: Err(failure), phases, reusable: true };
                self.tell(Event::Ended { attempt, ended }).await;
                return Ok(());
            }
        }
        let Job { call, sink } = job;
        let attempt = call.attempt;
        let refused = runner.supervisor.tally().refused_processes;
        let teller = sink.clone();
        runner.memory.set_busy(true);
        let arguments = match self.arguments(&call).await? {
            Ok(arguments) => arguments,
            Err(failure) => {
                let ended = Ended { outcome: Err(failure), phases, reusable: true };
                self.tell(Event::Ended { attempt, ended }).await;
                return Ok(());
            }
        };
        if let Err(failure) = self.refresh_volumes(runner, &sink).await {
            let ended = Ended { outcome: Err(failure), phases, reusable: true };
            self.tell(Event::Ended { attempt, ended }).await;
            return Ok(());
        }
        runner.copies.owed = Some(sink.clone());
        runner.pump.attach(sink).await;
        let mut begun = Instant::now();
        let keeper = self.keeper(runner, &teller, Pace::call());
        let mut volumes = std::mem::take(&mut runner.copies.volumes);
        let answering = async {
            self.send_call(runner, &call, arguments).await?;
            self.answer(runner, &call, &mut begun).await
        };
        let answered = keeper.during(&mut volumes, answering).await;
        runner.copies.volumes = volumes;
        phases.push(phase("call", begun.elapsed()));
        self.tell_refused(runner, &teller, refused).await;
        // A job of which the kernel has killed a part may still have given an answer.
        if let (Ok(_), Some(excess)) = (&answered, runner.memory.killed(&runner.supervisor)) {
            return Err(Halt::failed(attempt, runner.memory.failure(excess), phases));
        }
        match answered {
            Ok(answer) => self.settle(runner, &teller, answer, phases).await,
            Err(Halt::Failed { attempt, ended }) => {
                Err(Halt::Failed { attempt, ended: Ended { phases, ..ended } })
            }
            Err(Halt::Cancelled { attempt, reason, tell }) => {
                let tell = tell.map(|ended| Ended { phases, ..ended });
                Err(Halt::Cancelled { attempt, reason, tell })
            }
            Err(halt) => Err(halt),
        }
    }

    /// Says that the call was not allowed to start as many processes as it wanted.
    async fn tell_refused(&self, runner: &Runner, sink: &Sink, before: u64) {
        let Some(most) = self.tools.containment.pids else { return };
        if runner.supervisor.tally().refused_processes > before {
            let text = format!(
                "the function reached the limit of {most} processes and threads, and was not \
                 allowed to start more (hint: start fewer, or raise the worker's `pids` setting)"
            );
            self.say(sink, &text).await;
        }
    }

    /// Waits for the next call.
    pub(super) async fn idle(&mut self, runner: &mut Runner) -> Result<Job, Halt> {
        runner.memory.set_busy(false);
        if runner.copies.ground.is_lost() {
            return Err(Halt::Died(LOST.to_owned()));
        }
        loop {
            let reason = tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(Command::Call(job)) => return Ok(*job),
                    // Said of a call that is over.
                    Some(Command::Release(_)) => continue,
                    Some(Command::Cancel { .. } | Command::Stop) | None => return Err(Halt::Asked),
                },
                happening = runner.happens() => match happening {
                    Happening::Message(message) => {
                        tracing::debug!(container = %self.id, ?message, "said while idle");
                        continue;
                    }
                    Happening::VolumesLost => LOST.to_owned(),
                    Happening::Memory(excess) => runner.memory.failure(excess).message,
                    Happening::Broken(error) => failure::nonsense(&error).message,
                    Happening::Closed => closed(runner, "while it was idle").await.message,
                    Happening::Exit(exit) => {
                        runner.explain(failure::crash(exit, "while it was idle")).message
                    }
                },
            };
            return Err(Halt::Died(reason));
        }
    }

    /// The arguments, fetched if they are not here.
    async fn arguments(&mut self, call: &Call) -> Result<Result<Bytes, Failure>, Halt> {
        let attempt = call.attempt;
        match &call.arguments {
            Arguments::Here(arguments) => Ok(Ok(arguments.clone())),
            Arguments::Fetch => tokio::select! {
                biased;
                command = self.commands.recv() => Err(halt(attempt, command)),
                fetched = self.tools.gateway.fetch_arguments(attempt) => {
                    Ok(fetched.map_err(|error| failure::arguments(&error)))
                }
            },
        }
    }

    async fn send_call(
        &mut self,
        runner: &mut Runner,
        call: &Call,
        args: Bytes,
    ) -> Result<(), Halt> {
        let frame = call.frame(args);
        tokio::select! {
            biased;
            sent = runner.send(&frame) => {
                if let Err(error) = sent {
                    // The program's end, which comes next, says more.
                    tracing::debug!(container = %self.id, %error, "could not send the call");
                }
                Ok(())
            }
            // Half a frame has been sent, so the runner would not understand a word any more.
            _ = self.commands.recv() => Err(Halt::Killed("its call was stopped".to_owned())),
        }
    }

    /// Waits until the runner answers. `begun` becomes the moment the user's code was called.
    async fn answer(
        &mut self,
        runner: &mut Runner,
        call: &Call,
        begun: &mut Instant,
    ) -> Result<Answer, Halt> {
        let attempt = call.attempt;
        let deadline = tokio::time::sleep(Duration::MAX);
        tokio::pin!(deadline);
        let failure = loop {
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(Command::Call(job)) => self.refuse(&job).await,
                    other => return Err(halt(attempt, other)),
                },
                happening = runner.happens() => match happening {
                    Happening::Message(FromRunner::Started { id }) if id == attempt.0 => {
                        *begun = Instant::now();
                        if let Some(timeout) = call.timeout {
                            let limit = timeout.saturating_add(TIMEOUT_GRACE);
                            deadline.set(tokio::time::sleep(limit));
                        }
                        self.tell(Event::Started(attempt)).await;
                    }
                    Happening::Message(message) => {
                        if let Some(answer) = read(message, attempt) {
                            return Ok(answer);
                        }
                    }
                    // It hears so itself, and may yet have something to say.
                    Happening::VolumesLost => {}
                    Happening::Memory(excess) => break runner.memory.failure(excess),
                    Happening::Broken(error) => break failure::nonsense(&error),
                    Happening::Closed => break closed(runner, WHEN).await,
                    Happening::Exit(exit) => {
                        while let Some(message) = runner.last_words().await {
                            if let Some(answer) = read(message, attempt) {
                                return Ok(answer);
                            }
                        }
                        break runner.explain(failure::crash(exit, WHEN));
                    }
                },
                () = &mut deadline => return Err(timed_out(call)),
            }
        };
        Err(Halt::failed(attempt, failure, Vec::new()))
    }

    /// Tells the end of a call, after all it wrote and when all it started is gone.
    async fn settle(
        &mut self,
        runner: &mut Runner,
        sink: &Sink,
        Answer { outcome, spent }: Answer,
        phases: Vec<Phase>,
    ) -> Result<(), Halt> {
        let attempt = sink.attempt;
        let ((), reaped) = tokio::join!(runner.pump.finish(), runner.supervisor.reap());
        match reaped {
            Ok(count) => {
                if count > 0 {
                    tracing::debug!(container = %self.id, count, "ended what a call had left behind");
                }
                let outcome = self.write_volumes_back(&mut runner.copies, sink, outcome).await;
                let reusable = !spent && !runner.copies.ground.is_lost();
                let ended = Ended { outcome, phases, reusable };
                if spent {
                    return Err(Halt::Failed { attempt, ended });
                }
                self.tell(Event::Ended { attempt, ended }).await;
                Ok(())
            }
            Err(error) => {
                tracing::warn!(container = %self.id, %error, "could not end what a call left behind");
                Err(Halt::Failed { attempt, ended: Ended { outcome, phases, reusable: false } })
            }
        }
    }
}

/// What a message says about the end of a call; nothing if it is about something else.
fn read(message: FromRunner, attempt: AttemptId) -> Option<Answer> {
    match message {
        FromRunner::Result { id, data } if id == attempt.0 => {
            Some(Answer { outcome: Ok(Bytes::from(data.into_vec())), spent: false })
        }
        FromRunner::Error { id, kind, text, spent } if id == attempt.0 => {
            Some(Answer { outcome: Err(failure::answered(&kind, text)), spent })
        }
        _ => None,
    }
}

/// What a command that comes during a call does to the container.
pub(super) fn halt(attempt: AttemptId, command: Option<Command>) -> Halt {
    match command {
        Some(Command::Cancel { attempt: wanted, reason }) if wanted == attempt => {
            Halt::Cancelled { attempt, reason, tell: None }
        }
        Some(Command::Cancel { .. } | Command::Call(_) | Command::Release(_) | Command::Stop)
        | None => Halt::Asked,
    }
}

/// The end of a call that the gateway should have ended.
fn timed_out(call: &Call) -> Halt {
    let seconds = call.timeout.unwrap_or_default().as_secs_f64();
    let text = format!("the function ran longer than its timeout of {seconds} seconds");
    Halt::Cancelled {
        attempt: call.attempt,
        reason: CancelReason::Timeout,
        tell: Some(Ended::failed(Failure::new(FailureKind::Timeout, text), Vec::new())),
    }
}
