//! The worker's side of the control socket.

use std::collections::VecDeque;
use std::io;
use std::pin::pin;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot, watch};

use crate::exit::Exit;
use crate::held::Held;
use crate::wire::{REPLY_BYTES, Reply, Request};

/// Requests that may wait for the supervisor; callers beyond that wait for a place.
const MAX_WAITING: usize = 16;

/// How far a job has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The program runs.
    Running,
    /// The program has ended, and the rest is being killed.
    Ended(Exit),
    /// The supervisor has ended too; everything is gone if it said so by its own end.
    Gone { exit: Exit, confirmed: bool },
}

type Answer = oneshot::Sender<io::Result<u32>>;

/// Asks the supervisor; dropping it closes the socket, upon which the supervisor kills everything.
#[derive(Debug)]
pub(crate) struct Control {
    requests: mpsc::Sender<(Request, Option<Answer>)>,
    state: watch::Receiver<State>,
}

impl Control {
    pub(crate) fn start(socket: UnixStream, shim: Child, program: i32, group: Held) -> Self {
        let (requests, receiver) = mpsc::channel(MAX_WAITING);
        let (sender, state) = watch::channel(State::Running);
        let talk = Talk { socket, program, group, answers: VecDeque::new(), state: sender };
        metal9_tasks::spawn_infallible("sandbox-control", talk.run(receiver, shim));
        Self { requests, state }
    }

    pub(crate) async fn ask(&self, request: Request) -> io::Result<u32> {
        let (answer, reply) = oneshot::channel();
        if self.requests.send((request, Some(answer))).await.is_err() {
            return Err(ended());
        }
        reply.await.unwrap_or_else(|_| Err(ended()))
    }

    pub(crate) async fn kill(&self) -> io::Result<()> {
        // If nobody takes the request any more the job is on its way out already.
        let _ = self.requests.send((Request::Kill, None)).await;
        let mut state = self.state.clone();
        let gone = state.wait_for(|state| matches!(state, State::Gone { .. })).await;
        match gone.as_deref() {
            Ok(State::Gone { confirmed: true, .. }) => Ok(()),
            _ => Err(io::Error::other("the supervisor died before it had killed all processes")),
        }
    }

    pub(crate) async fn wait(&self) -> Exit {
        let mut state = self.state.clone();
        match state.wait_for(|state| *state != State::Running).await.as_deref() {
            Ok(State::Ended(exit) | State::Gone { exit, .. }) => *exit,
            Ok(State::Running) | Err(_) => Exit::Lost,
        }
    }

    pub(crate) fn state(&self) -> State {
        *self.state.borrow()
    }
}

fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the program has ended")
}

/// The task that owns the socket.
struct Talk {
    socket: UnixStream,
    program: i32,
    group: Held,
    /// Who waits for the next replies, in the order of their requests.
    answers: VecDeque<Answer>,
    state: watch::Sender<State>,
}

impl Talk {
    async fn run(mut self, requests: mpsc::Receiver<(Request, Option<Answer>)>, mut shim: Child) {
        self.talk(requests).await;
        let Self { socket, program, group, answers, state } = self;
        drop((socket, answers));

        let confirmed = match shim.wait().await {
            Ok(status) => status.success(),
            Err(_) => false,
        };
        let exit = match *state.borrow() {
            State::Ended(exit) | State::Gone { exit, .. } => exit,
            State::Running => Exit::Lost,
        };
        let confirmed = group.end().await || confirmed;
        if !confirmed {
            // Whoever left the program's group cannot be found without its supervisor or a cgroup.
            let _ = killpg(Pid::from_raw(program), Signal::SIGKILL);
            tracing::warn!(program, "a job's supervisor died; processes of the job may be left");
        }
        state.send_replace(State::Gone { exit, confirmed });
    }

    /// Carries requests and replies until either side is done.
    async fn talk(&mut self, requests: mpsc::Receiver<(Request, Option<Answer>)>) {
        let mut requests = pin!(requests);
        let mut buffer = [0; REPLY_BYTES];
        let mut filled = 0;
        loop {
            tokio::select! {
                request = requests.recv(), if self.answers.len() < MAX_WAITING => {
                    let Some((request, answer)) = request else { return };
                    // So few bytes always fit: this never waits for the supervisor to read.
                    if self.socket.write_all(&[request.to_byte()]).await.is_ok() {
                        self.answers.extend(answer);
                    }
                }
                ready = self.socket.readable() => {
                    if ready.is_err() {
                        return;
                    }
                    match self.socket.try_read(&mut buffer[filled..]) {
                        Ok(0) => return,
                        Ok(count) => filled += count,
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Err(_) => return,
                    }
                    if filled == REPLY_BYTES {
                        filled = 0;
                        self.take(buffer);
                    }
                }
            }
        }
    }

    fn take(&mut self, bytes: [u8; REPLY_BYTES]) {
        let reply = match Reply::decode(bytes) {
            Ok(reply) => reply,
            Err(error) => {
                tracing::error!(%error, "a supervisor does not keep to the protocol");
                return;
            }
        };
        let result = match reply {
            Reply::Exited(code) => {
                self.state.send_replace(State::Ended(Exit::Code(code)));
                return;
            }
            Reply::Signalled(signal) => {
                self.state.send_replace(State::Ended(Exit::Signal(signal)));
                return;
            }
            Reply::Done(count) => Ok(u32::try_from(count).unwrap_or(0)),
            Reply::Failed(errno) => Err(io::Error::from_raw_os_error(errno)),
            Reply::Started(_)
            | Reply::NoDirectory(_)
            | Reply::NoExec(_)
            | Reply::NoGroup(_)
            | Reply::NotIsolated(_)
            | Reply::NoContainer(_)
            | Reply::Listening(_) => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "out-of-place reply"))
            }
        };
        if let Some(answer) = self.answers.pop_front() {
            // Whoever asked may have stopped waiting.
            let _ = answer.send(result);
        }
    }
}
