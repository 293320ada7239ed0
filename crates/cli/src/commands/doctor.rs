//! `metal9 doctor`: what could keep this machine from working.

use std::path::PathBuf;

use anyhow::anyhow;
use serde_json::json;

use crate::context::{self, Context};
use crate::doctor;
use crate::failure::Failure;
use crate::report;
use crate::talk::Spinner;

/// The options of looking at this machine.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The worker's state directory [default: ~/.metal9/worker]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// The gateway's state directory [default: ~/.metal9/gateway]
    #[arg(long, value_name = "DIR")]
    gateway_state: Option<PathBuf>,
}

/// Looks at everything and says what is wrong.
///
/// # Errors
///
/// If something does not work.
pub(crate) fn run(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let mut flags = Vec::new();
    for (section, path) in [("worker", &arguments.state), ("gateway", &arguments.gateway_state)] {
        let path = path.as_ref().map(|path| path.to_string_lossy().into_owned());
        flags.extend(path.map(|path| ((section, "state_dir"), path)));
    }
    let settings = context.settings(flags)?;
    context.start_log("error")?;
    let spinner = Spinner::start("looking at this machine");
    // Of several threads, because supervisors are started and waited for.
    let facts = context::serve(Box::pin(doctor::collect(&settings)))?;
    drop(spinner);
    let checks = doctor::checks(&facts);
    let works = report::all_work(&checks);
    let value = json!({ "ok": works, "machine": facts.machine, "checks": checks });
    context
        .output
        .show(&value, || format!("{}\n{}\n", report::lines(&checks), report::summary(&checks)))?;
    if works {
        return Ok(());
    }
    Err(Failure::request(anyhow!("something on this machine does not work")))
}
