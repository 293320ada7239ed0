use std::io;
use std::path::PathBuf;

use crate::isolation::Step;

/// Why a program could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// The worker could not make the sockets and pipes between itself and the program.
    #[error("could not make the pipes to a new program")]
    Pipes(#[source] io::Error),
    /// The launch description could not be written down.
    #[error("could not describe the launch of {}", program.display())]
    Describe {
        /// The program that was to be started.
        program: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The supervisor could not be started.
    #[error("could not start the supervisor {}", shim.display())]
    Shim {
        /// The file of the supervisor.
        shim: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The supervisor started but ended, or spoke nonsense, before it had started the program.
    #[error("the supervisor {} ended before it had started the program", shim.display())]
    Lost {
        /// The file of the supervisor.
        shim: PathBuf,
        /// What was read instead of an answer.
        source: io::Error,
    },
    /// The program cannot be isolated as it is to be.
    #[error("could not isolate {}: {step} failed", program.display())]
    Isolation {
        /// The program's file.
        program: PathBuf,
        /// What failed.
        step: Step,
        /// What the system said.
        source: io::Error,
    },
    /// The program's working directory cannot be entered.
    #[error("could not enter the working directory {}", cwd.display())]
    WorkingDirectory {
        /// The directory.
        cwd: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The program's cgroup cannot be entered.
    #[error("could not enter the cgroup of {}", program.display())]
    Group {
        /// The program that was to be started.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The program's file cannot be executed.
    #[error("could not execute {}", program.display())]
    Exec {
        /// The program's file.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The container cannot be made.
    #[error("`{}` could not start the container{}", program.display(), told(output))]
    Container {
        /// The runtime's file.
        program: PathBuf,
        /// What it said.
        output: String,
        /// How it ended.
        source: io::Error,
    },
}

/// What a program said, as the end of a message.
fn told(output: &str) -> String {
    if output.trim().is_empty() { String::new() } else { format!(": {}", output.trim()) }
}
