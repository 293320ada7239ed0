//! What a program writes, line by line, and the end of all that it has started.

use std::io;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Child;

/// How much of a program's last output is kept for error messages, in bytes.
pub(crate) const TAIL_BYTES: usize = 8 * 1024;
/// Longer lines are cut into pieces, in bytes.
const LINE_BYTES: usize = 8 * 1024;
/// Read at a time, in bytes.
const BUFFER_BYTES: usize = 4096;

/// Cuts a stream into lines.
#[derive(Debug, Default)]
pub struct Lines {
    partial: Vec<u8>,
    /// The last of them, between one and two times eight kibibytes.
    pub tail: String,
}

impl Lines {
    /// Reads a stream to its end; `on_line` gets each line that is not blank, without the newline.
    ///
    /// # Errors
    ///
    /// If the stream cannot be read.
    pub async fn read(
        &mut self,
        mut stream: impl AsyncRead + Unpin,
        on_line: &mut (dyn FnMut(&str) + Send),
    ) -> io::Result<()> {
        let mut buffer = [0; BUFFER_BYTES];
        loop {
            let count = stream.read(&mut buffer).await?;
            if count == 0 {
                self.end_line(on_line);
                return Ok(());
            }
            for &byte in &buffer[..count] {
                if byte == b'\n' || byte == b'\r' {
                    self.end_line(on_line);
                } else {
                    self.partial.push(byte);
                    if self.partial.len() >= LINE_BYTES {
                        self.end_line(on_line);
                    }
                }
            }
        }
    }

    fn end_line(&mut self, on_line: &mut (dyn FnMut(&str) + Send)) {
        let line = String::from_utf8_lossy(&self.partial).trim_end().to_owned();
        self.partial.clear();
        if line.is_empty() {
            return;
        }
        self.tail.push_str(&line);
        self.tail.push('\n');
        if self.tail.len() > 2 * TAIL_BYTES {
            let cut = self.tail.len() - TAIL_BYTES;
            let start = self.tail.bytes().skip(cut).position(|byte| byte == b'\n');
            self.tail.drain(..=start.map_or(0, |offset| cut + offset));
        }
        on_line(&line);
    }
}

/// The process group of a program, which is killed when this is dropped.
#[derive(Debug)]
pub struct ProcessGroup(Option<u32>);

impl ProcessGroup {
    /// That of a program which was started as the leader of one of its own.
    #[must_use]
    pub fn of(leader: &Child) -> Self {
        Self(leader.id())
    }

    /// The program has ended, and its number may be somebody else's.
    pub fn has_ended(&mut self) {
        self.0 = None;
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        let leader = self.0.and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 1);
        if let Some(pid) = leader {
            // It may have ended by itself a moment ago.
            let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}
