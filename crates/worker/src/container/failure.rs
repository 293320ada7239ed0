//! What went wrong, as failures.

use std::io;
use std::path::Path;

use metal9_env::EnvError;
use metal9_sandbox::Exit;
use metal9_types::{Failure, FailureKind};

use crate::code::CodeError;
use crate::errors::chain;
use crate::gateway::TransferError;
use crate::runner::{FrameError, LaunchError};

/// An exit as the verb of a sentence: `exited with code 3`, `was killed by signal 11 (SIGSEGV)`.
pub(crate) fn exit_text(exit: Exit) -> String {
    match exit {
        Exit::Code(_) => exit.to_string(),
        Exit::Signal(_) | Exit::Lost => format!("was {exit}"),
    }
}

/// The process ended by itself; `when` says when, as `before it returned`.
pub(crate) fn crash(exit: Exit, when: &str) -> Failure {
    let text = exit_text(exit);
    match exit {
        Exit::Code(code) => {
            Failure::new(FailureKind::Crash, format!("the function's process {text} {when}"))
                .with_exit_code(code)
        }
        Exit::Signal(signal) => {
            Failure::new(FailureKind::Crash, format!("the function's process {text}"))
                .with_exit_code(128 + signal)
        }
        Exit::Lost => Failure::new(FailureKind::Internal, format!("the function's process {text}")),
    }
}

/// The runner answered with an error; `kind` is the protocol's.
pub(crate) fn answered(kind: &str, text: String) -> Failure {
    let kind = match kind {
        "retry_for" => FailureKind::RetryFor,
        "result_too_large" => FailureKind::ResultTooLarge,
        _ => FailureKind::Exception,
    };
    Failure::new(kind, text)
}

/// The environment could not be made. The text is the package tool's own.
pub(crate) fn environment(error: &EnvError) -> Failure {
    let hint = error.hint().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
    Failure::new(FailureKind::Setup, format!("{}{hint}", chain(error)))
}

/// The code could not be made ready.
pub(crate) fn code(error: &CodeError) -> Failure {
    let kind = if error.is_platform() { FailureKind::Internal } else { FailureKind::Setup };
    Failure::new(kind, chain(error))
}

/// The runner did not start.
pub(crate) fn launch(error: &LaunchError) -> Failure {
    let kind = match error {
        LaunchError::Network { .. } | LaunchError::NoGpu(_) | LaunchError::Mount(_) => {
            FailureKind::Setup
        }
        _ => FailureKind::Internal,
    };
    Failure::new(kind, chain(error))
}

/// The code could not be given to the account that it runs as.
pub(crate) fn directory(path: &Path, error: &io::Error) -> Failure {
    let text = format!("`{}` could not be given to the user of jobs: {error}", path.display());
    Failure::new(FailureKind::Internal, text)
}

/// The arguments did not come.
pub(crate) fn arguments(error: &TransferError) -> Failure {
    let text = format!("the arguments of the call could not be fetched: {}", chain(error));
    Failure::new(FailureKind::Internal, text)
}

/// The runner's socket carried nonsense: the function's own code can write to it.
pub(crate) fn nonsense(error: &FrameError) -> Failure {
    let text =
        format!("the function's process broke its connection to the worker: {}", chain(error));
    Failure::new(FailureKind::Crash, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_tells_how_the_process_ended() {
        let failure = crash(Exit::Code(3), "before it returned");
        assert_eq!(failure.message, "the function's process exited with code 3 before it returned");
        assert_eq!(failure.exit_code, 3);
        let failure = crash(Exit::Signal(11), "before it returned");
        assert_eq!(failure.message, "the function's process was killed by signal 11 (SIGSEGV)");
        assert_eq!(failure.exit_code, 139);
    }

    #[test]
    fn leaving_without_an_error_code_is_still_a_failure() {
        assert_eq!(crash(Exit::Code(0), "before it returned").exit_code, 1);
    }

    #[test]
    fn the_worker_is_to_blame_for_a_lost_supervisor() {
        assert_eq!(crash(Exit::Lost, "").kind, FailureKind::Internal);
    }
}
