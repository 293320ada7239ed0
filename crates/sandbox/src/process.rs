use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};

use crate::cgroup::{Group, GroupLimits, Tally};
use crate::control::{Control, State};
use crate::ends::Ends;
use crate::error::SpawnError;
use crate::exit::Exit;
use crate::held::{Asked, Held};
use crate::isolation::Step;
use crate::launch::Launch;
use crate::memory;
use crate::receive::receive;
use crate::shim::SHIM_COMMAND;
use crate::wire::{MAX_LAUNCH_BYTES, Reply, Request, WireLaunch};

/// What a runtime that fails is quoted with, in bytes.
const MAX_SAID: u64 = 4096;

/// How long it is listened to.
const SAID_WITHIN: Duration = Duration::from_secs(1);

/// Starts `launch` under a new supervisor, which is `shim exec-shim`.
///
/// Returns once the program's file has been executed. The program gets `/dev/null` as its standard
/// input, pipes as its outputs and the channel as descriptor 3, and nothing else. Dropping the
/// future before it is done kills whatever it had started.
///
/// # Errors
///
/// [`SpawnError::Exec`] if the program cannot be executed, [`SpawnError::WorkingDirectory`] if its
/// directory cannot be entered, [`SpawnError::Isolation`] if it cannot be isolated; the other kinds
/// are failures of the worker's own machinery.
pub async fn spawn(shim: &Path, launch: Launch) -> Result<Process, SpawnError> {
    let (program, cwd) = (launch.program.clone(), launch.cwd.clone());
    let runtime = launch.container.as_ref().map(|container| container.runtime.program.clone());
    let mark = launch.mark();
    let held = Held::new(launch.group.clone());
    let description = describe(launch)?;
    let ends = Ends::make(description.len()).map_err(SpawnError::Pipes)?;
    let Ends { mut control, channel, stdout, mut stderr, shim_end } = ends;
    let mut child = start_shim(shim, shim_end)
        .await
        .map_err(|source| SpawnError::Shim { shim: shim.to_owned(), source })?;

    let mut listeners = Vec::new();
    let answer = async {
        control.write_all(&description).await?;
        loop {
            let (reply, sockets) = receive(&control).await?;
            match reply {
                Reply::Listening(_) => listeners = sockets,
                other => return Ok(other),
            }
        }
    };
    let program_pid = match answer.await {
        Ok(Reply::Started(pid)) => pid,
        Ok(Reply::NoDirectory(errno)) => {
            let source = io::Error::from_raw_os_error(errno);
            return Err(SpawnError::WorkingDirectory { cwd, source });
        }
        Ok(Reply::NoGroup(errno)) => {
            let source = io::Error::from_raw_os_error(errno);
            return Err(SpawnError::Group { program, source });
        }
        Ok(Reply::NoExec(errno)) => {
            let source = io::Error::from_raw_os_error(errno);
            return Err(SpawnError::Exec { program, source });
        }
        Ok(Reply::NoContainer(code)) => {
            let source = match code {
                ..0 => io::Error::from_raw_os_error(-code),
                _ => io::Error::other(format!("it ended with code {code}")),
            };
            let (program, output) = (runtime.unwrap_or(program), said(&mut stderr).await);
            return Err(SpawnError::Container { program, output, source });
        }
        Ok(Reply::NotIsolated(number)) => {
            let (step, errno) = Step::of(number);
            let source = io::Error::from_raw_os_error(errno);
            return Err(SpawnError::Isolation { program, step, source });
        }
        Ok(other) => {
            let source = io::Error::new(io::ErrorKind::InvalidData, format!("answer {other:?}"));
            return Err(SpawnError::Lost { shim: shim.to_owned(), source });
        }
        Err(source) => return Err(lost(shim, &mut child, source).await),
    };
    let Some(pid) = child.id() else {
        let source = io::Error::other("it has no process id");
        return Err(SpawnError::Lost { shim: shim.to_owned(), source });
    };
    let group = held.asked();
    let control = Control::start(control, child, program_pid, held);
    let (channel, stdout, stderr) = (Some(channel), Some(stdout), Some(stderr));
    Ok(Process { pid, mark, control, group, channel, stdout, stderr, listeners })
}

/// A program that was started, and the whole tree of processes it starts.
///
/// Dropping it kills them all, in the background.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    /// See [`Launch::mark`].
    mark: Option<PathBuf>,
    control: Control,
    group: Asked,
    channel: Option<UnixStream>,
    stdout: Option<Receiver>,
    stderr: Option<Receiver>,
    listeners: Vec<TcpListener>,
}

impl Process {
    /// The process id of the supervisor, of which all processes of the job are descendants.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The worker's end of the program's descriptor 3; `None` after the first call.
    pub fn take_channel(&mut self) -> Option<UnixStream> {
        self.channel.take()
    }

    /// The program's standard output; `None` after the first call.
    pub fn take_stdout(&mut self) -> Option<Receiver> {
        self.stdout.take()
    }

    /// The program's standard error; `None` after the first call.
    pub fn take_stderr(&mut self) -> Option<Receiver> {
        self.stderr.take()
    }

    /// The sockets that listen on the loopback interface of the program's own network, two of them
    /// where it is to reach the gateway only; none otherwise, and after the first call.
    pub fn take_listeners(&mut self) -> Vec<TcpListener> {
        std::mem::take(&mut self.listeners)
    }

    /// Makes the processes that exist now part of the container: [`Process::reap`] spares them.
    ///
    /// A new mark replaces the last one. Before the first mark only the program itself is spared.
    ///
    /// # Errors
    ///
    /// If the program has ended, or the processes cannot be listed.
    pub async fn mark(&self) -> io::Result<()> {
        self.control.ask(Request::Mark).await.map(drop)
    }

    /// Kills every process started since the mark, except the program, and returns how many.
    ///
    /// They are gone, or zombies of a parent that is spared, when this returns. On macOS a process
    /// is not found if it left the program's process group, *and* its parent ended between two
    /// looks (about a second apart), *and* it was started without the job's variables.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::TimedOut`] if new processes kept coming, or one did not die: then the
    /// container should be killed. Any other error if the program has ended or the processes
    /// cannot be listed.
    pub async fn reap(&self) -> io::Result<u32> {
        self.control.ask(Request::Reap).await
    }

    /// Sends SIGTERM to the program.
    ///
    /// # Errors
    ///
    /// If the program has ended.
    pub async fn terminate(&self) -> io::Result<()> {
        self.control.ask(Request::Terminate).await.map(drop)
    }

    /// Kills every process of the job and returns when they are gone; also fine if they already are.
    ///
    /// # Errors
    ///
    /// If the supervisor died, so that nobody can tell whether they are gone.
    pub async fn kill(&self) -> io::Result<()> {
        self.control.kill().await
    }

    /// Waits for the end of the program itself. Several tasks may wait, at any time.
    ///
    /// What it left running is killed at the same time; [`Process::kill`] waits for that.
    pub async fn wait(&self) -> Exit {
        self.control.wait().await
    }

    /// Holds the job to these limits as far as it is in a cgroup; returns whether the kernel now
    /// holds it to its memory.
    ///
    /// # Errors
    ///
    /// If the kernel refuses a limit.
    pub fn limit(&self, limits: &GroupLimits) -> io::Result<bool> {
        self.group.group.as_ref().map_or(Ok(false), |group| group.limit(limits))
    }

    /// What the kernel did to the job because of its limits, also once it is gone.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.group.tally(Group::tally)
    }

    /// As [`Process::tally`], with nothing but what is about memory; cheap.
    #[must_use]
    pub fn memory_tally(&self) -> Tally {
        self.group.tally(Group::memory_tally)
    }

    /// The memory the job uses, in bytes; 0 once it is gone.
    ///
    /// In a cgroup this is all it uses but for files, and exact. Else, Linux: anonymous and shared memory and swap of each process, so that memory shared between
    /// processes counts more than once; [`Process::memory_exact`] settles doubtful cases. macOS:
    /// the physical footprint, which includes Metal buffers. Blocks for a few reads of `/proc`.
    ///
    /// # Errors
    ///
    /// If the processes cannot be listed.
    pub fn memory(&self) -> io::Result<u64> {
        match self.control.state() {
            State::Gone { .. } => Ok(0),
            _ => self.counted().map_or_else(|| memory::quick(self.pid, self.mark.as_deref()), Ok),
        }
    }

    /// As [`Process::memory`], with shared memory divided among those who share it.
    ///
    /// Costs the kernel a walk over every page table of the job: milliseconds per gigabyte.
    ///
    /// # Errors
    ///
    /// If the processes cannot be listed.
    pub fn memory_exact(&self) -> io::Result<u64> {
        match self.control.state() {
            State::Gone { .. } => Ok(0),
            _ => self.counted().map_or_else(|| memory::exact(self.pid, self.mark.as_deref()), Ok),
        }
    }

    /// Bytes of files the job has mapped, as far as it is in a cgroup that counts them.
    #[must_use]
    pub fn mapped_files(&self) -> u64 {
        self.group.group.as_ref().map_or(0, Group::mapped_files)
    }

    fn counted(&self) -> Option<u64> {
        self.group.group.as_ref().and_then(Group::memory)
    }
}

/// The end of what was written to a pipe whose other end is closed, or soon will be.
async fn said(pipe: &mut Receiver) -> String {
    let mut bytes = Vec::new();
    let mut pipe = pipe.take(MAX_SAID);
    let _ = tokio::time::timeout(SAID_WITHIN, pipe.read_to_end(&mut bytes)).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The launch as JSON.
fn describe(launch: Launch) -> Result<Vec<u8>, SpawnError> {
    let program = launch.program.clone();
    let json = serde_json::to_vec(&WireLaunch::from(launch)).map_err(io::Error::from);
    match json {
        Ok(json) if json.len() <= MAX_LAUNCH_BYTES => Ok(json),
        Ok(json) => {
            let text = format!("{} bytes, more than {MAX_LAUNCH_BYTES}", json.len());
            let source = io::Error::new(io::ErrorKind::ArgumentListTooLong, text);
            Err(SpawnError::Describe { program, source })
        }
        Err(source) => Err(SpawnError::Describe { program, source }),
    }
}

/// Starts the supervisor with `control` as its standard input.
///
/// Nothing else is passed on, so another thread's fork at the same moment can inherit nothing that
/// keeps the job alive. The environment is emptied because the job may read its supervisor's.
async fn start_shim(shim: &Path, control: OwnedFd) -> io::Result<Child> {
    let mut command = Command::new(shim);
    command
        .arg(SHIM_COMMAND)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(control))
        .stdout(Stdio::null())
        .stderr(Stdio::inherit());
    // The thread that starts it stands still until it is executed, a millisecond on a busy machine.
    let started = tokio::task::spawn_blocking(move || command.spawn()).await;
    started.map_err(io::Error::other)?
}

/// Ends a supervisor that did not answer and says what became of it.
async fn lost(shim: &Path, child: &mut Child, source: io::Error) -> SpawnError {
    // It may be any program that ignores its standard input, so it is not waited for unkilled.
    let ended = match child.try_wait() {
        Ok(Some(status)) => Ok(status),
        _ => child.kill().await.and(child.wait().await),
    };
    let source = match ended {
        Ok(status) => io::Error::new(source.kind(), format!("{source} ({status})")),
        Err(_) => source,
    };
    SpawnError::Lost { shim: shim.to_owned(), source }
}
