//! Ending a container: everything it started is gone before anybody hears of its end.

use std::time::Duration;

use crate::container::{Container, Halt};
use crate::event::Event;
use crate::runner::{ContainerDirectory, OwnNetwork, Runner, Supervisor, ToRunner};
use crate::volumes::ground::LOST;

/// How long a runner may take to end when it is asked to.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// How long one that serves requests may take: its application's shutdown runs.
const APPLICATION_GRACE: Duration = Duration::from_secs(3);

/// How long a call that is cancelled may take: its `finally` blocks and its callback run.
const CANCEL_GRACE: Duration = Duration::from_secs(3);

impl Container {
    /// Ends a container that never had a runner.
    pub(super) async fn end_unprepared(&self, halt: Halt) -> String {
        if let Halt::Failed { attempt, ended } = halt {
            self.tell(Event::Ended { attempt, ended }).await;
            return "it could not be made ready".to_owned();
        }
        reason(&halt)
    }

    /// Ends the processes, tells what they wrote and the end of the call, removes the files: those of
    /// volumes once they were sent.
    pub(super) async fn end(&self, mut runner: Runner, halt: Halt) -> String {
        let reason = reason(&halt);
        match &halt {
            Halt::Asked if self.spec.processes > 0 => {
                ask(&mut runner, &ToRunner::Shutdown, APPLICATION_GRACE).await;
            }
            Halt::Asked => ask(&mut runner, &ToRunner::Shutdown, STOP_GRACE).await,
            Halt::Cancelled { attempt, reason, .. } => {
                let cancel = ToRunner::Cancel { id: attempt.0, reason: *reason };
                ask(&mut runner, &cancel, CANCEL_GRACE).await;
            }
            Halt::Killed(_) | Halt::Failed { .. } | Halt::Died(_) | Halt::Anew(_) => {}
        }
        let Runner { supervisor, pump, directory, aside, own_network, mut copies, .. } = runner;
        self.end_processes(&supervisor).await;
        pump.finish().await;
        let halt = self.keep_written(&mut copies, halt).await;
        match halt {
            Halt::Failed { attempt, ended }
            | Halt::Cancelled { attempt, tell: Some(ended), .. } => {
                self.tell(Event::Ended { attempt, ended }).await;
            }
            _ => {}
        }
        directory.remove().await;
        forget(aside, own_network).await;
        reason
    }

    /// Ends the processes and removes the files, for others in their places.
    pub(super) async fn clear(&self, runner: Runner) {
        let Runner { supervisor, pump, directory, aside, own_network, copies, .. } = runner;
        self.end_processes(&supervisor).await;
        pump.finish().await;
        drop(supervisor);
        directory.remove().await;
        forget(aside, own_network).await;
        if let Some(directory) = copies.directory {
            directory.remove().await;
        }
    }

    async fn end_processes(&self, supervisor: &Supervisor) {
        if let Err(error) = supervisor.kill().await {
            tracing::warn!(container = %self.id, %error, "could not see the processes end");
        }
    }
}

/// Removes what a container of an OCI runtime has beside its directory.
async fn forget(aside: Option<ContainerDirectory>, own_network: Option<OwnNetwork>) {
    if let Some(aside) = aside {
        aside.remove().await;
    }
    if let Some(network) = own_network {
        network.remove().await;
    }
}

/// Sends a last message and waits for the program to end, for a while.
async fn ask(runner: &mut Runner, message: &ToRunner, grace: Duration) {
    let asked = async {
        if runner.send(message).await.is_ok() {
            let _ = runner.supervisor.wait().await;
        }
    };
    let _ = tokio::time::timeout(grace, asked).await;
}

/// Why the container ended, for people who look at containers.
fn reason(halt: &Halt) -> String {
    match halt {
        Halt::Asked => "it was stopped".to_owned(),
        Halt::Anew(_) => LOST.to_owned(),
        Halt::Killed(reason) | Halt::Died(reason) => reason.clone(),
        Halt::Cancelled { tell: None, .. } => "its call was stopped".to_owned(),
        Halt::Cancelled { .. } => "its call took too long".to_owned(),
        Halt::Failed { ended, .. } => match &ended.outcome {
            Ok(_) => "its processes could not be cleaned up after a call".to_owned(),
            Err(failure) => failure.message.clone(),
        },
    }
}
