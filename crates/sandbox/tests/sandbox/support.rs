//! Jobs to test with, and ways to see what became of them.

use std::future::Future;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use metal9_sandbox::{Group, Launch, Limits, Process, spawn};
use nix::sys::stat::Mode;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::pipe::Receiver;

/// The longest any single step of a test may take.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn fixture() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_metal9-shim-fixture"))
}

pub(crate) fn launch(args: &[&str]) -> Launch {
    Launch {
        program: fixture().to_owned(),
        args: args.iter().map(Into::into).collect(),
        env: Vec::new(),
        cwd: PathBuf::from("/"),
        limits: Limits::default(),
        group: None,
        account: None,
        isolation: None,
        container: None,
    }
}

pub(crate) fn shell(script: &str) -> Launch {
    Launch { program: "/bin/sh".into(), args: vec!["-c".into(), script.into()], ..launch(&[]) }
}

pub(crate) async fn start(launch: Launch) -> Process {
    soon("start", spawn(fixture(), launch)).await.unwrap()
}

/// What `future` gives; fails the test if that takes too long.
pub(crate) async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what} is not done after {PATIENCE:?}"),
    }
}

pub(crate) async fn rest(output: Option<Receiver>) -> Vec<u8> {
    let mut bytes = Vec::new();
    soon("the end of the output", output.unwrap().read_to_end(&mut bytes)).await.unwrap();
    bytes
}

pub(crate) async fn rest_text(output: Option<Receiver>) -> String {
    String::from_utf8(rest(output).await).unwrap()
}

/// A job that does what it is told.
pub(crate) struct Obedient {
    pub(crate) process: Process,
    pub(crate) channel: BufReader<UnixStream>,
    pub(crate) stdout: BufReader<Receiver>,
}

impl Obedient {
    pub(crate) async fn start() -> Self {
        Self::start_in(None).await
    }

    pub(crate) async fn start_in(group: Option<Group>) -> Self {
        Self::start_with(Launch { group, ..launch(&["obey"]) }).await
    }

    pub(crate) async fn start_with(launch: Launch) -> Self {
        let mut process = start(launch).await;
        let channel = BufReader::new(process.take_channel().unwrap());
        let stdout = BufReader::new(process.take_stdout().unwrap());
        Self { process, channel, stdout }
    }

    /// Has it do something and waits until it is done.
    pub(crate) async fn tell(&mut self, request: &str) {
        self.send(request).await;
        let answer = line(&mut self.channel).await;
        if answer != "done" {
            let exit = soon("exit", self.process.wait()).await;
            let mut said = String::new();
            soon("its words", self.stdout.read_to_string(&mut said)).await.unwrap();
            panic!("{request:?} was answered {answer:?}; {exit}; it said {said:?}");
        }
    }

    pub(crate) async fn send(&mut self, request: &str) {
        self.channel.write_all(format!("{request}\n").as_bytes()).await.unwrap();
    }

    /// Has it start a process and returns that process's id once it runs.
    pub(crate) async fn tell_to_start(&mut self, request: &str) -> i32 {
        self.tell(request).await;
        line(&mut self.stdout).await.parse().unwrap()
    }

    /// Has it start `count` processes that keep replacing themselves and waits until some have.
    #[cfg(target_os = "linux")]
    pub(crate) async fn tell_to_hop(&mut self, count: usize) {
        self.tell(&format!("hops {count}")).await;
        for _ in 0..count / 5 {
            assert_eq!(line(&mut self.stdout).await, "on the way");
        }
    }

    /// Waits until no process is left that could write to standard output.
    pub(crate) async fn all_gone(&mut self) {
        let mut bytes = Vec::new();
        soon("the end of all processes", self.stdout.read_to_end(&mut bytes)).await.unwrap();
    }
}

async fn line<R: AsyncBufReadExt + Unpin>(from: &mut R) -> String {
    let mut line = String::new();
    soon("a line", from.read_line(&mut line)).await.unwrap();
    line.trim_end().to_owned()
}

/// Whether a process exists, be it as a zombie.
pub(crate) fn exists(pid: i32) -> bool {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None).is_ok()
}

/// A pipe with a name: it ends when no process that opened it is left.
pub(crate) struct Fifo {
    pub(crate) path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Fifo {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
        Self { path, _folder: folder }
    }

    /// Waits for lines, then calls `then`, then waits until all writers are gone.
    pub(crate) async fn end(&self, lines: usize, then: impl FnOnce() + Send + 'static) {
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || {
            let mut file = std::fs::File::open(path).unwrap();
            let (mut seen, mut byte) = (0, [0]);
            while seen < lines {
                assert_eq!(file.read(&mut byte).unwrap(), 1, "the job ended by itself");
                seen += usize::from(byte[0] == b'\n');
            }
            then();
            file.read_to_end(&mut Vec::new()).unwrap();
        });
        soon("the end of all processes", read).await.unwrap();
    }
}
