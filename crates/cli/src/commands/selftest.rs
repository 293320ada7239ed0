//! `metal9 selftest`: whether this machine can run jobs, found out by running some.

use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use serde_json::json;

use crate::context::{self, Context};
use crate::failure::Failure;
use crate::machine::Machine;
use crate::output;
use crate::report::{self, Check};
use crate::selftest::{self, Options, Report};
use crate::signals::Signals;

/// How wide the column of names is while not all of them are known.
const NAMES: usize = "torch environment".len();

/// The options of trying this machine out.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Fail unless an Apple GPU computes, and try PyTorch too
    #[arg(long)]
    gpu: bool,
    /// Keep gateway, worker and environments in this directory, for a quicker next time [default:
    /// one of its own, which is removed]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

/// Tries this machine out and reports.
///
/// # Errors
///
/// If something does not work.
pub(crate) fn run(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let settings = context.settings(Vec::new())?;
    context.start_log("warn")?;
    // Jobs have a `/tmp` of their own, so what is to be hidden from them is elsewhere.
    let kept = arguments.state.as_ref().map(std::path::absolute).transpose();
    let kept = kept.map_err(Failure::usage)?;
    let temporary = if kept.is_none() { Some(directory()?) } else { None };
    let directory = kept.or_else(|| temporary.as_ref().map(|it| it.path().to_owned()));
    let directory = directory.ok_or_else(|| Failure::ours(anyhow!("no directory")))?;
    std::fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make `{}`", directory.display()))
        .map_err(Failure::usage)?;
    let options = Options { gpu: arguments.gpu, directory };
    let as_json = context.output.is_json();
    let mut tell = |check: &Check| {
        if !as_json {
            // A reader who has gone away does not want to hear it.
            let _ = output::print(report::line(check, NAMES).as_bytes());
        }
    };
    if !as_json {
        output::print((Machine::look().describe() + "\n").as_bytes())?;
    }
    let report = context::serve(Box::pin(async {
        let mut signals = Signals::listen().map_err(Failure::ours)?;
        tokio::select! {
            report = selftest::run(context, &settings, &options, &mut tell) => report,
            () = signals.next() => Err(Failure::request(anyhow!("interrupted"))),
        }
    }))?;
    conclude(context, &report)
}

fn conclude(context: &Context, report: &Report) -> Result<(), Failure> {
    let works = report::all_work(&report.checks);
    let value = json!({ "ok": works, "report": report });
    context.output.show(&value, || {
        let mut text = format!("\n{}\n", report::summary(&report.checks));
        if !report.log.is_empty() {
            text += &format!("\nthe end of the worker's log:\n{}\n", report.log);
        }
        text
    })?;
    if works {
        return Ok(());
    }
    Err(Failure::request(anyhow!("this machine does not pass its self-test")).hint(
        "`metal9 doctor` looks at each part by itself; the report above is made to be shown to \
         others",
    ))
}

/// A directory of its own below the home, removed when it is dropped.
fn directory() -> Result<tempfile::TempDir, Failure> {
    let home = std::env::home_dir().ok_or_else(|| Failure::usage(anyhow!("there is no home")))?;
    let parent = home.join(".metal9/selftest");
    let made = std::fs::create_dir_all(&parent)
        .and_then(|()| tempfile::Builder::new().prefix("run-").tempdir_in(&parent));
    made.with_context(|| format!("cannot make a directory in `{}`", parent.display()))
        .map_err(Failure::usage)
}
