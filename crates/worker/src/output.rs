//! What a job writes: from its pipes to numbered chunks of text.
//!
//! One pump per container reads both pipes. Text goes to the attempt the pump is attached to and
//! takes room in that attempt's budget until the gateway has acknowledged it; while there is no
//! room the pump does not read, so the job blocks in `write`.

mod utf8;

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use metal9_types::AttemptId;
use nix::errno::Errno;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::event::Event;
use crate::report::Stream;
pub(crate) use utf8::Utf8;

/// The most a chunk is read from a pipe at once, in bytes.
const READ_BYTES: usize = 64 * 1024;

/// The most that is taken from one pipe past the budget when a call ends, in bytes. A pipe holds
/// less; more than this can only come from a process that goes on writing.
const DRAIN_BYTES: usize = 2 * 1024 * 1024;

/// How much text of a process that belongs to no attempt is kept, in bytes.
const UNCLAIMED_BYTES: usize = 8 * 1024;

/// What one chunk takes of an attempt's budget beside its text.
const CHUNK_OVERHEAD: usize = 64;

/// Where text goes.
#[derive(Clone, Debug)]
pub(crate) struct Sink {
    pub(crate) attempt: AttemptId,
    /// Free bytes of the attempt's budget.
    pub(crate) budget: Arc<Semaphore>,
}

enum Command {
    Attach(Sink, oneshot::Sender<()>),
    Finish(oneshot::Sender<()>),
    Unclaimed(oneshot::Sender<String>),
}

/// The handle of a pump; the pump ends with it.
#[derive(Debug)]
pub(crate) struct Pump {
    commands: mpsc::Sender<Command>,
}

impl Pump {
    pub(crate) fn start(
        stdout: Option<Receiver>,
        stderr: Option<Receiver>,
        events: mpsc::Sender<Event>,
    ) -> Self {
        let (commands, inbox) = mpsc::channel(4);
        let pump = Reading {
            stdout: Pipe::new(stdout),
            stderr: Pipe::new(stderr),
            sink: None,
            waiting: VecDeque::new(),
            unclaimed: String::new(),
            buffer: vec![0; READ_BYTES],
            events,
        };
        metal9_tasks::spawn_infallible("output-pump", pump.run(inbox));
        Self { commands }
    }

    /// What is read from now on belongs to this attempt.
    pub(crate) async fn attach(&self, sink: Sink) {
        self.ask(|done| Command::Attach(sink, done)).await;
    }

    /// Tells all that is in the pipes now; what is read later belongs to nobody.
    pub(crate) async fn finish(&self) {
        self.ask(Command::Finish).await;
    }

    /// The end of what was read while no attempt was attached.
    pub(crate) async fn unclaimed(&self) -> String {
        self.ask(Command::Unclaimed).await.unwrap_or_default()
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.ok()?;
        answer.await.ok()
    }
}

/// One pipe and the character that is not complete yet.
struct Pipe {
    receiver: Option<Receiver>,
    decoder: Utf8,
}

impl Pipe {
    fn new(receiver: Option<Receiver>) -> Self {
        Self { receiver, decoder: Utf8::default() }
    }

    /// Waits for something to read; for ever once the pipe has ended.
    async fn readable(&self) {
        let ready = match &self.receiver {
            Some(receiver) => receiver.readable().await.is_ok(),
            None => false,
        };
        if !ready {
            std::future::pending::<()>().await;
        }
    }

    /// What is there, up to the size of `buffer`.
    fn read(&mut self, buffer: &mut [u8]) -> String {
        let mut filled = 0;
        while let Some(receiver) = &self.receiver {
            match receiver.try_read(&mut buffer[filled..]) {
                Ok(0) if filled < buffer.len() => self.receiver = None,
                Ok(read) if read > 0 => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => self.receiver = None,
                _ => break,
            }
        }
        let mut text = self.decoder.push(&buffer[..filled]);
        if self.receiver.is_none() {
            text.push_str(&self.decoder.finish());
        }
        text
    }

    /// What the kernel has right now, at most about as much as a pipe holds.
    fn read_pending(&mut self, buffer: &mut [u8]) -> String {
        let mut text = String::new();
        while text.len() < READ_BYTES
            && let Some(read) = self.read_now(buffer)
        {
            text.push_str(&self.decoder.push(&buffer[..read]));
        }
        text
    }

    /// What is there, asked of the kernel rather than of the runtime, which may not have heard of
    /// the last write yet. Nothing if the pipe is empty.
    fn read_now(&mut self, buffer: &mut [u8]) -> Option<usize> {
        loop {
            match nix::unistd::read(self.receiver.as_ref()?.as_fd(), buffer) {
                Ok(0) => self.receiver = None,
                Ok(read) => return Some(read),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return None,
                Err(_) => self.receiver = None,
            }
        }
    }
}

/// A chunk that waits for room.
struct Chunk {
    stream: Stream,
    text: String,
}

struct Reading {
    stdout: Pipe,
    stderr: Pipe,
    sink: Option<Sink>,
    /// Chunks that wait for room, in order.
    waiting: VecDeque<Chunk>,
    unclaimed: String,
    buffer: Vec<u8>,
    events: mpsc::Sender<Event>,
}

impl Reading {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        loop {
            if let Some(sink) = self.sink.clone()
                && let Some(chunk) = self.waiting.pop_front()
            {
                let room = sink.budget.clone().acquire_many_owned(cost(&chunk.text));
                tokio::select! {
                    room = room => self.tell(sink.attempt, chunk, room.ok()).await,
                    command = commands.recv() => {
                        self.waiting.push_front(chunk);
                        match command {
                            Some(command) => self.obey(command).await,
                            None => return,
                        }
                    }
                }
                continue;
            }
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.obey(command).await,
                    None => return,
                },
                () = self.stdout.readable() => {
                    let text = self.stdout.read(&mut self.buffer);
                    self.take(Stream::Stdout, text).await;
                }
                () = self.stderr.readable() => {
                    let text = self.stderr.read(&mut self.buffer);
                    // What a job prints before it fails comes before its traceback: whatever was
                    // written to stdout before this is in the pipe by now.
                    let before = self.stdout.read_pending(&mut self.buffer);
                    self.take(Stream::Stdout, before).await;
                    self.take(Stream::Stderr, text).await;
                }
            }
        }
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Attach(sink, done) => {
                // What the last call left in the pipes is not this call's.
                self.drain().await;
                self.sink = Some(sink);
                let _ = done.send(());
            }
            Command::Finish(done) => {
                self.drain().await;
                self.sink = None;
                let _ = done.send(());
            }
            Command::Unclaimed(reply) => {
                self.drain().await;
                let _ = reply.send(std::mem::take(&mut self.unclaimed));
            }
        }
    }

    /// Tells text at once if there is room for it, else keeps it waiting.
    async fn take(&mut self, stream: Stream, text: String) {
        if text.is_empty() {
            return;
        }
        let Some(sink) = &self.sink else { return self.keep(&text) };
        let attempt = sink.attempt;
        let chunk = Chunk { stream, text };
        if !self.waiting.is_empty() {
            self.waiting.push_back(chunk);
            return;
        }
        match sink.budget.clone().try_acquire_many_owned(cost(&chunk.text)) {
            Ok(room) => self.tell(attempt, chunk, Some(room)).await,
            Err(_) => self.waiting.push_back(chunk),
        }
    }

    async fn tell(&self, attempt: AttemptId, chunk: Chunk, room: Option<OwnedSemaphorePermit>) {
        let Chunk { stream, text } = chunk;
        // The manager is gone only when the worker ends.
        let _ = self.events.send(Event::Output { attempt, stream, text, room }).await;
    }

    fn keep(&mut self, text: &str) {
        self.unclaimed.push_str(text);
        let excess = self.unclaimed.len().saturating_sub(UNCLAIMED_BYTES);
        let cut = (excess..=self.unclaimed.len()).find(|at| self.unclaimed.is_char_boundary(*at));
        self.unclaimed.drain(..cut.unwrap_or(0));
    }

    /// Tells everything that is waiting or in the pipes, whether there is room or not.
    async fn drain(&mut self) {
        while let Some(chunk) = self.waiting.pop_front() {
            self.force(chunk.stream, chunk.text).await;
        }
        for stream in [Stream::Stdout, Stream::Stderr] {
            let mut total = 0;
            loop {
                let pipe = match stream {
                    Stream::Stdout => &mut self.stdout,
                    Stream::Stderr => &mut self.stderr,
                };
                let more = total < DRAIN_BYTES;
                let read = if more { pipe.read_now(&mut self.buffer) } else { None };
                let text = match read {
                    Some(read) => pipe.decoder.push(&self.buffer[..read]),
                    None => pipe.decoder.finish(),
                };
                total += read.unwrap_or(0);
                self.force(stream, text).await;
                if read.is_none() {
                    break;
                }
            }
        }
    }

    async fn force(&mut self, stream: Stream, text: String) {
        match &self.sink {
            _ if text.is_empty() => {}
            None => self.keep(&text),
            Some(sink) => {
                let room = sink.budget.clone().try_acquire_many_owned(cost(&text)).ok();
                self.tell(sink.attempt, Chunk { stream, text }, room).await;
            }
        }
    }
}

/// What a chunk takes of its attempt's budget. Far below `u32`: a chunk comes of one read.
pub(crate) fn cost(text: &str) -> u32 {
    u32::try_from(text.len() + CHUNK_OVERHEAD).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
