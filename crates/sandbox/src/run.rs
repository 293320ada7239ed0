//! Running a program to its end under a supervisor, as jobs are, and reading what it says.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::error::SpawnError;
use crate::exit::Exit;
use crate::launch::Launch;
use crate::process::spawn;

/// The most that is read of each output, in bytes; the rest is thrown away.
const MOST: u64 = 256 * 1024;

/// What a program said, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// How it ended; nothing if it took too long and was killed.
    pub exit: Option<Exit>,
    /// What it wrote to its standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to its standard error.
    pub stderr: Vec<u8>,
}

/// Runs `launch` under a supervisor until it ends, or kills it after `limit`.
///
/// # Errors
///
/// As [`spawn`].
pub async fn run(shim: &Path, launch: Launch, limit: Duration) -> Result<Output, SpawnError> {
    let mut process = spawn(shim, launch).await?;
    let (stdout, stderr) = (process.take_stdout(), process.take_stderr());
    let reading = async { tokio::join!(read(stdout), read(stderr)) };
    let ending = async {
        let exit = tokio::time::timeout(limit, process.wait()).await.ok();
        // What it has left running would keep its outputs open. A supervisor that died has killed it.
        let _ = process.kill().await;
        exit
    };
    let ((stdout, stderr), exit) = tokio::join!(reading, ending);
    Ok(Output { exit, stdout, stderr })
}

async fn read(output: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut text = Vec::new();
    let Some(mut output) = output else { return text };
    // What cannot be read is as good as not said.
    let _: io::Result<usize> = (&mut output).take(MOST).read_to_end(&mut text).await;
    let _ = tokio::io::copy(&mut output, &mut tokio::io::sink()).await;
    text
}
