//! `metal9 worker cordon`, `uncordon` and `drain`.

use std::time::{Duration, Instant};

use anyhow::anyhow;
use serde_json::{Value, json};

use crate::client;
use crate::client::http::Http;
use crate::connection;
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::talk::Spinner;

/// How often to look whether a worker is empty.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How much longer than the deadline to wait for a worker to become empty.
const OVERTIME: Duration = Duration::from_secs(30);

/// Which worker.
#[derive(Debug, clap::Args)]
pub(crate) struct One {
    /// The worker's id, as `metal9 status --json` and `beta9 worker list` show it
    worker: String,
    #[command(flatten)]
    connection: connection::Arguments,
}

/// Which worker, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct Drain {
    /// The worker's id, as `metal9 status --json` and `beta9 worker list` show it
    worker: String,
    /// How long running calls may go on, as 45s, 5m or 2h
    #[arg(long, default_value = "5m", value_parser = metal9_types::seconds)]
    deadline: u64,
    /// Wait until the worker is empty
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    connection: connection::Arguments,
}

/// Cordons or uncordons a worker.
///
/// # Errors
///
/// If the gateway cannot be asked, or knows no such worker.
pub(super) fn cordon(context: &Context, arguments: &One, verb: &str) -> Result<(), Failure> {
    context.start_log("warn")?;
    let http = context::ask(client::http(&arguments.connection))?;
    let id = &arguments.worker;
    let answer = ask(&http, id, verb, &json!({}))?;
    context.output.show(&answer, || format!("{verb}ed worker {id}\n"))
}

/// Drains a worker.
///
/// # Errors
///
/// If the gateway cannot be asked or knows no such worker, or the worker does not become empty.
pub(super) fn drain(context: &Context, arguments: &Drain) -> Result<(), Failure> {
    context.start_log("warn")?;
    let http = context::ask(client::http(&arguments.connection))?;
    let (id, deadline) = (&arguments.worker, arguments.deadline);
    let answer = ask(&http, id, "drain", &json!({ "deadline_seconds": deadline }))?;
    if !arguments.wait {
        return context.output.show(&answer, || {
            format!("draining worker {id}; running calls may go on for {deadline} s\n")
        });
    }
    let _spinner = Spinner::start("waiting for running calls and builds");
    let limit = Duration::from_secs(deadline).saturating_add(OVERTIME);
    let began = Instant::now();
    loop {
        let status = http.get("/api/v1/status")?;
        let (containers, builds) = (on(&status, id, "containers"), on(&status, id, "builds"));
        if containers == 0 && builds == 0 {
            return context.output.show(&answer, || format!("worker {id} is empty\n"));
        }
        if began.elapsed() > limit {
            let error = anyhow!(
                "{containers} containers and {builds} image builds are still on worker `{id}`"
            );
            return Err(
                Failure::request(error).hint("is the worker connected? see `metal9 status`")
            );
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn ask(http: &Http, id: &str, verb: &str, body: &Value) -> Result<Value, Failure> {
    // Anything else could not stand in a path as it is.
    if id.is_empty() || !id.chars().all(|it| it.is_ascii_alphanumeric() || it == '-') {
        return Err(Failure::usage(anyhow!("`{id}` is not a worker's id")));
    }
    http.post(&format!("/api/v1/worker/{id}/{verb}"), body)
        .map_err(|failure| failure.context(format!("cannot {verb} worker `{id}`")))
}

/// How many containers or builds are on a worker; none on one that is not connected any more.
fn on(status: &Value, id: &str, what: &str) -> u64 {
    let workers = status["workers"].as_array().into_iter().flatten();
    let mut found = workers.filter(|worker| worker["id"] == id);
    found.next().and_then(|worker| worker[what].as_u64()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_is_gone_is_empty() {
        let status = json!({ "workers": [{ "id": "a", "containers": 2, "builds": 1 }] });
        assert_eq!((on(&status, "a", "containers"), on(&status, "a", "builds")), (2, 1));
        assert_eq!((on(&status, "b", "containers"), on(&status, "b", "builds")), (0, 0));
    }
}
