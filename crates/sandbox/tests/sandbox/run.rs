//! Programs that are run to their end.

use std::time::Duration;

use metal9_sandbox::{Exit, Output, SpawnError, run};

use crate::support::{fixture, launch, shell, soon};

/// More than any of these programs needs.
const LONG: Duration = Duration::from_secs(20);

async fn output(script: &str, limit: Duration) -> Output {
    soon("the program", run(fixture(), shell(script), limit)).await.unwrap()
}

#[tokio::test]
async fn both_outputs_and_the_end_are_told() {
    let output = output("echo out; echo err >&2; exit 3", LONG).await;
    assert_eq!(output.exit, Some(Exit::Code(3)));
    assert_eq!((&*output.stdout, &*output.stderr), (&b"out\n"[..], &b"err\n"[..]));
}

#[tokio::test]
async fn one_that_takes_too_long_is_killed_with_what_it_started() {
    let output = output("echo begun; sleep 1000 & sleep 1000", Duration::from_millis(300)).await;
    assert_eq!(output.exit, None);
    assert_eq!(output.stdout, b"begun\n");
}

#[tokio::test]
async fn one_that_leaves_something_running_does_not_hold_its_output_open() {
    let output = output("sleep 1000 & echo done", LONG).await;
    assert_eq!((output.exit, &*output.stdout), (Some(Exit::Code(0)), &b"done\n"[..]));
}

#[tokio::test]
async fn one_that_says_too_much_is_heard_to_its_end() {
    let output = output("head -c 3000000 /dev/zero; echo end >&2", LONG).await;
    assert_eq!((output.exit, &*output.stderr), (Some(Exit::Code(0)), &b"end\n"[..]));
    assert_eq!(output.stdout.len(), 256 * 1024);
}

#[tokio::test]
async fn one_that_is_not_there_is_an_error() {
    let missing = metal9_sandbox::Launch { program: "/no/such/program".into(), ..launch(&[]) };
    let error = soon("the error", run(fixture(), missing, LONG)).await.unwrap_err();
    assert!(matches!(error, SpawnError::Exec { .. }), "{error:?}");
}
