//! `metal9 worker logs`.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, anyhow};
use metal9_service::{Manager, log_of, plans};

use super::find;
use crate::failure::Failure;

/// The options of looking at the log.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How many lines
    #[arg(short = 'n', long, default_value_t = 200)]
    lines: u32,
    /// Go on with what is written from now on
    #[arg(short, long)]
    follow: bool,
}

/// Becomes the program that shows the log.
///
/// # Errors
///
/// If there is no service, or no such program.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let place = find::installed()?;
    let log = match place.manager {
        Manager::Systemd => PathBuf::new(),
        Manager::Launchd => {
            let file = place.file();
            let text = std::fs::read_to_string(&file)
                .with_context(|| format!("cannot read `{}`", file.display()))
                .map_err(Failure::request)?;
            log_of(&text).ok_or_else(|| {
                Failure::request(anyhow!("`{}` does not say where the log is", file.display()))
                    .hint("write it anew with `metal9 worker install`")
            })?
        }
    };
    let words = plans::logs(&place, &log, arguments.lines, arguments.follow);
    let (program, rest) =
        words.split_first().ok_or_else(|| Failure::ours(anyhow!("a command without words")))?;
    let error = Command::new(program).args(rest).exec();
    Err(Failure::request(anyhow!(error).context(format!("cannot run `{}`", words.join(" ")))))
}
