//! A runner for tests: its supervisor is told how the program ends and what it uses, its messages
//! are the test's.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use metal9_sandbox::{Exit, GroupLimits, Tally};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, watch};

use crate::event::Event;
use crate::output::Pump;
use crate::runner::{ContainerDirectory, Runner, Supervisor};

/// Clones are the same supervisor.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scripted {
    exit: Arc<watch::Sender<Option<Exit>>>,
    memory: Arc<(AtomicU64, AtomicU64)>,
    marks: Arc<AtomicU32>,
    reaps: Arc<AtomicU32>,
    kernel: Arc<Mutex<Kernel>>,
}

/// What the kernel of a scripted runner does.
#[derive(Debug, Default)]
struct Kernel {
    holds: bool,
    held_to: Option<u64>,
    tally: Tally,
}

impl Scripted {
    /// The program ends.
    pub(crate) fn end(&self, exit: Exit) {
        self.exit.send_if_modified(|now| {
            let first = now.is_none();
            now.get_or_insert(exit);
            first
        });
    }

    /// The kernel holds memory limits.
    pub(crate) fn hold(&self) {
        self.kernel().holds = true;
    }

    /// The memory limit that the kernel was given.
    pub(crate) fn held_to(&self) -> Option<u64> {
        self.kernel().held_to
    }

    /// The kernel has done this.
    pub(crate) fn count(&self, tally: Tally) {
        self.kernel().tally = tally;
    }

    pub(crate) fn limit(&self, limits: &GroupLimits) -> bool {
        let mut kernel = self.kernel();
        kernel.held_to = limits.memory_bytes;
        kernel.holds && limits.memory_bytes.is_some()
    }

    pub(crate) fn tally(&self) -> Tally {
        self.kernel().tally
    }

    fn kernel(&self) -> MutexGuard<'_, Kernel> {
        self.kernel.lock().unwrap()
    }

    /// Bytes used, by the quick and the exact figure.
    pub(crate) fn use_memory(&self, quick: u64, exact: u64) {
        self.memory.0.store(quick, Ordering::Relaxed);
        self.memory.1.store(exact, Ordering::Relaxed);
    }

    pub(crate) fn memory(&self) -> (u64, u64) {
        (self.memory.0.load(Ordering::Relaxed), self.memory.1.load(Ordering::Relaxed))
    }

    /// How often [`Scripted::mark`] and [`Scripted::reap`] were called.
    pub(crate) fn calls(&self) -> (u32, u32) {
        (self.marks.load(Ordering::Relaxed), self.reaps.load(Ordering::Relaxed))
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.exit.borrow().is_some()
    }

    pub(crate) fn mark(&self) -> io::Result<()> {
        self.marks.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn reap(&self) -> io::Result<u32> {
        self.reaps.fetch_add(1, Ordering::Relaxed);
        Ok(0)
    }

    pub(crate) fn kill(&self) -> io::Result<()> {
        self.end(Exit::Signal(9));
        Ok(())
    }

    pub(crate) async fn wait(&self) -> Exit {
        let mut exit = self.exit.subscribe();
        match exit.wait_for(Option::is_some).await {
            Ok(exit) => exit.unwrap_or(Exit::Lost),
            Err(_) => Exit::Lost,
        }
    }
}

/// The other end of a runner: a test that speaks the runner's part.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) supervisor: Scripted,
    socket: UnixStream,
    pub(crate) stdout: pipe::Sender,
    _root: TempDir,
}

/// What the worker said; fields of other messages are empty.
#[derive(Debug, Deserialize)]
#[serde(default)]
pub(crate) struct Heard {
    pub(crate) r#type: String,
    pub(crate) id: u64,
    pub(crate) reason: String,
    pub(crate) handler: String,
    pub(crate) code_dir: String,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) task_id: String,
    pub(crate) args: ByteBuf,
}

impl Default for Heard {
    fn default() -> Self {
        let (env, args) = (BTreeMap::new(), ByteBuf::new());
        let text = String::new;
        Self {
            r#type: text(),
            id: 0,
            reason: text(),
            handler: text(),
            code_dir: text(),
            env,
            task_id: text(),
            args,
        }
    }
}

/// What the runner says.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Say {
    Loaded { micros: u64 },
    LoadFailed { text: String },
    Started { id: u64 },
    Result { id: u64, data: ByteBuf },
    Error { id: u64, kind: String, text: String },
}

impl Peer {
    /// A runner and its other end.
    pub(crate) fn new(events: mpsc::Sender<Event>) -> (Runner, Self) {
        let root = tempfile::tempdir().unwrap();
        let directory = ContainerDirectory::make(root.path().join("container")).unwrap();
        let (stdout, out) = pipe::pipe().unwrap();
        let (socket, channel) = UnixStream::pair().unwrap();
        let supervisor = Scripted::default();
        let pump = Pump::start(Some(out), None, events);
        let watched = Supervisor::Scripted(supervisor.clone());
        let runner = Runner::new(watched, channel, pump, directory);
        (runner, Self { supervisor, socket, stdout, _root: root })
    }

    /// The next message of the worker; nothing at the end of the socket.
    pub(crate) async fn hear(&mut self) -> Option<Heard> {
        let length = self.socket.read_u32().await.ok()?;
        let mut body = vec![0; length as usize];
        self.socket.read_exact(&mut body).await.unwrap();
        Some(rmp_serde::from_slice(&body).unwrap())
    }

    /// The next message, which must be of this kind.
    pub(crate) async fn expect(&mut self, kind: &str) -> Heard {
        let heard = self.hear().await.unwrap();
        assert_eq!(heard.r#type, kind, "{heard:?}");
        heard
    }

    pub(crate) async fn say(&mut self, message: Say) {
        let body = rmp_serde::to_vec_named(&message).unwrap();
        self.socket.write_u32(u32::try_from(body.len()).unwrap()).await.unwrap();
        self.socket.write_all(&body).await.unwrap();
    }

    /// Plays a runner whose handler loads.
    pub(crate) async fn load(&mut self) -> Heard {
        let load = self.expect("load").await;
        self.say(Say::Loaded { micros: 1 }).await;
        load
    }

    /// Plays a runner that begins a call.
    pub(crate) async fn begin(&mut self) -> Heard {
        let call = self.expect("call").await;
        self.say(Say::Started { id: call.id }).await;
        call
    }

    /// Plays a runner that returns this.
    pub(crate) async fn give(&mut self, id: u64, data: &[u8]) {
        self.say(Say::Result { id, data: ByteBuf::from(data) }).await;
    }

    /// Sends what is no message.
    pub(crate) async fn garble(&mut self) {
        self.socket.write_all(&[0xff; 8]).await.unwrap();
    }

    pub(crate) async fn print(&mut self, text: &str) {
        self.stdout.write_all(text.as_bytes()).await.unwrap();
    }
}
