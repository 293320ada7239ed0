//! What a program gets, and what is known of its end.

use std::time::Duration;

use metal9_sandbox::{Exit, Launch, Limits, SpawnError, spawn};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{fixture, launch, rest, rest_text, shell, soon, start};

#[tokio::test]
async fn the_exit_code_is_reported_to_all_who_wait() {
    let process = start(launch(&["exit", "3"])).await;
    let (first, second) =
        soon("exit", async { tokio::join!(process.wait(), process.wait()) }).await;
    assert_eq!((first, second), (Exit::Code(3), Exit::Code(3)));
    assert_eq!(soon("exit", process.wait()).await, Exit::Code(3));
}

#[tokio::test]
async fn the_signal_that_ended_it_is_reported() {
    // A real-time signal too: those have no name.
    for signal in [libc::SIGABRT, libc::SIGKILL, libc::SIGTERM, 40] {
        if signal == 40 && cfg!(not(target_os = "linux")) {
            continue;
        }
        let process = start(launch(&["raise", &signal.to_string()])).await;
        assert_eq!(soon("exit", process.wait()).await, Exit::Signal(signal));
    }
}

#[tokio::test]
async fn the_program_has_four_descriptors() {
    let mut process = start(launch(&["fds"])).await;
    assert_eq!(rest_text(process.take_stdout()).await, "[0, 1, 2, 3]\n");
}

#[tokio::test]
async fn the_program_has_the_launch_environment_and_directory_only() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let env = vec![("GREETING".to_owned(), "hé=llo\nthere".to_owned())];
    let mut process = start(Launch { env, cwd: folder.clone(), ..launch(&["environment"]) }).await;
    let text = rest_text(process.take_stdout()).await;
    let expected =
        format!("GREETING=hé=llo\nthere\nMETAL9_RUNNER_FD=3\ncwd {}\n", folder.display());
    assert_eq!(text, expected);
}

#[tokio::test]
async fn limits_reach_the_program() {
    let limits = Limits { open_files: Some(77), ..Limits::default() };
    let script = "ulimit -n; ulimit -Hn; ulimit -c";
    let mut process = start(Launch { limits, ..shell(script) }).await;
    assert_eq!(rest_text(process.take_stdout()).await, "77\n77\n0\n");
}

#[tokio::test]
async fn a_limit_above_the_workers_own_is_lowered() {
    let limits = Limits { open_files: Some(u64::MAX / 2), core_dumps: true, ..Limits::default() };
    let mut process = start(Launch { limits, ..shell("ulimit -n") }).await;
    assert_eq!(soon("exit", process.wait()).await, Exit::Code(0));
    assert!(!rest_text(process.take_stdout()).await.is_empty());
}

#[tokio::test]
async fn the_channel_carries_bytes_both_ways() {
    let mut process = start(launch(&["echo"])).await;
    let (mut reader, mut writer) = process.take_channel().unwrap().into_split();
    assert!(process.take_channel().is_none());
    let sent: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 253) as u8).collect();
    let write = async {
        writer.write_all(&sent).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let mut received = Vec::new();
    let (_, read) =
        soon("echo", async { tokio::join!(write, reader.read_to_end(&mut received)) }).await;
    read.unwrap();
    assert!(received == sent);
    assert_eq!(soon("exit", process.wait()).await, Exit::Code(0));
}

#[tokio::test]
async fn ten_megabytes_of_output_arrive_unchanged() {
    let count = 10_000_000;
    let mut process = start(launch(&["output", &count.to_string()])).await;
    let (stdout, stderr) = (process.take_stdout(), process.take_stderr());
    let (stdout, stderr) = tokio::join!(rest(stdout), rest(stderr));
    let expected = |first: usize| (first..first + count).map(|i| (i % 251) as u8);
    assert!(expected(0).eq(stdout));
    assert!(expected(1).eq(stderr));
}

#[tokio::test]
async fn output_written_before_the_end_is_not_lost() {
    let mut process = start(shell("echo last words; kill -KILL $$")).await;
    assert_eq!(soon("exit", process.wait()).await, Exit::Signal(libc::SIGKILL));
    soon("kill", process.kill()).await.unwrap();
    assert_eq!(rest_text(process.take_stdout()).await, "last words\n");
}

#[tokio::test]
async fn a_missing_program_is_named() {
    let missing = Launch { program: "/no/such/program".into(), ..launch(&[]) };
    let error = soon("failure", spawn(fixture(), missing)).await.unwrap_err();
    assert_eq!(error.to_string(), "could not execute /no/such/program");
    let SpawnError::Exec { source, .. } = error else { panic!("{error:?}") };
    assert_eq!(source.kind(), std::io::ErrorKind::NotFound);
}

#[tokio::test]
async fn a_file_that_is_no_program_is_an_exec_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let wrong = Launch { program: file.path().to_owned(), ..launch(&[]) };
    let error = soon("failure", spawn(fixture(), wrong)).await.unwrap_err();
    let SpawnError::Exec { source, .. } = error else { panic!("{error:?}") };
    assert_eq!(source.kind(), std::io::ErrorKind::PermissionDenied);
}

#[tokio::test]
async fn a_missing_working_directory_is_named() {
    let missing = Launch { cwd: "/no/such/folder".into(), ..launch(&[]) };
    let error = soon("failure", spawn(fixture(), missing)).await.unwrap_err();
    assert_eq!(error.to_string(), "could not enter the working directory /no/such/folder");
    assert!(matches!(error, SpawnError::WorkingDirectory { .. }), "{error:?}");
}

#[tokio::test]
async fn a_missing_supervisor_is_named() {
    let error = soon("failure", spawn("/no/such/shim".as_ref(), launch(&[]))).await.unwrap_err();
    assert!(matches!(error, SpawnError::Shim { .. }), "{error:?}");
}

#[tokio::test]
async fn a_supervisor_that_is_none_is_not_waited_for() {
    for other in ["/bin/false", "/bin/cat"] {
        let error = soon("failure", spawn(other.as_ref(), launch(&[]))).await.unwrap_err();
        assert!(matches!(error, SpawnError::Lost { .. }), "{other}: {error:?}");
    }
}

#[tokio::test]
async fn a_launch_too_long_for_the_supervisor_is_refused() {
    let env = vec![("LONG".to_owned(), "x".repeat(9 << 20))];
    let long = Launch { env, ..launch(&[]) };
    let error = soon("failure", spawn(fixture(), long)).await.unwrap_err();
    assert!(matches!(error, SpawnError::Describe { .. }), "{error:?}");
}

#[tokio::test]
async fn terminate_lets_the_program_clean_up() {
    let script = "trap 'echo bye; exit 7' TERM; sleep 1000 & echo ready; wait";
    let mut process = start(shell(script)).await;
    let mut stdout = process.take_stdout().unwrap();
    let mut ready = [0; 6];
    soon("ready", stdout.read_exact(&mut ready)).await.unwrap();
    soon("terminate", process.terminate()).await.unwrap();
    assert_eq!(soon("exit", process.wait()).await, Exit::Code(7));
    // The forgotten `sleep` holds the pipe too, so its end means that it is gone.
    assert_eq!(rest_text(Some(stdout)).await, "bye\n");
}

#[tokio::test]
async fn requests_after_the_end_are_errors() {
    let process = start(launch(&["exit", "0"])).await;
    soon("exit", process.wait()).await;
    assert!(soon("mark", process.mark()).await.is_err());
    assert!(soon("reap", process.reap()).await.is_err());
    assert!(soon("terminate", process.terminate()).await.is_err());
    soon("kill", process.kill()).await.unwrap();
    assert_eq!(process.memory().unwrap(), 0);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn secrets_are_not_in_the_supervisors_arguments_or_environment() {
    let env = vec![("TOKEN".to_owned(), "s3cret".to_owned())];
    let process = start(Launch { env, ..launch(&["obey"]) }).await;
    let read = |name| std::fs::read(format!("/proc/{}/{name}", process.pid())).unwrap();
    let arguments = String::from_utf8(read("cmdline")).unwrap();
    assert_eq!(arguments.split_once('\0').unwrap().1, "exec-shim\0");
    assert_eq!(read("environ"), b"");
}

#[tokio::test]
async fn many_programs_start_side_by_side() {
    let mut set = tokio::task::JoinSet::new();
    for code in 0..40 {
        set.spawn(async move {
            let process = start(launch(&["exit", &code.to_string()])).await;
            (code, tokio::time::timeout(Duration::from_secs(30), process.wait()).await)
        });
    }
    while let Some(result) = set.join_next().await {
        let (code, exit) = result.unwrap();
        assert_eq!(exit, Ok(Exit::Code(code)));
    }
}
