//! `metal9 task list`, `explain` and `logs`.

use std::collections::HashMap;
use std::io::Read as _;

use anyhow::anyhow;
use clap::Subcommand;
use metal9_proto::beta9::gateway::{ListTasksRequest, StringList, Task};
use prost_types::Timestamp;
use serde_json::{Value, json};

use crate::client::http::Http;
use crate::client::{self, accepted, failed};
use crate::connection;
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::output;

/// What to look at.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List tasks, the newest first
    List {
        /// Only tasks in this state, as `running`; may be given more than once
        #[arg(long)]
        status: Vec<String>,
        /// At most this many
        #[arg(long, default_value_t = 100)]
        limit: u32,
        #[command(flatten)]
        connection: connection::Arguments,
    },
    /// Say why a task is where it is
    Explain {
        /// The task's id
        task: String,
        #[command(flatten)]
        connection: connection::Arguments,
    },
    /// Print what a task has written
    Logs {
        /// The task's id
        task: String,
        /// Go on until the task has ended
        #[arg(long, short)]
        follow: bool,
        #[command(flatten)]
        connection: connection::Arguments,
    },
}

/// Looks at tasks.
///
/// # Errors
///
/// If the gateway cannot be asked, or knows no such task.
pub(crate) fn run(context: &Context, command: &Command) -> Result<(), Failure> {
    context.start_log("warn")?;
    match command {
        Command::List { status, limit, connection } => list(context, status, *limit, connection),
        Command::Explain { task, connection } => explain(context, task, connection)
            .map_err(|failure| failure.context(format!("cannot explain task `{task}`"))),
        Command::Logs { task, follow, connection } => logs(task, *follow, connection)
            .map_err(|failure| failure.context(format!("cannot show the output of task `{task}`"))),
    }
}

fn list(
    context: &Context,
    status: &[String],
    limit: u32,
    connection: &connection::Arguments,
) -> Result<(), Failure> {
    let mut filters = HashMap::new();
    if !status.is_empty() {
        let values = status.iter().map(|status| status.to_uppercase()).collect();
        filters.insert("status".to_owned(), StringList { values });
    }
    let what = "cannot list tasks";
    let answer = context::ask(async {
        let mut gateway = client::gateway(connection).await?;
        let answer = gateway.list_tasks(ListTasksRequest { filters, limit }).await;
        answer.map_err(|status| failed(what, &status))
    })?
    .into_inner();
    accepted(what, answer.ok, &answer.err_msg)?;
    let tasks: Vec<Value> = answer.tasks.iter().map(task_json).collect();
    context.output.show(&tasks, || {
        let rows = tasks.iter().map(|task| {
            ["id", "status", "stub_name", "created_at", "ended_at"]
                .map(|name| task[name].as_str().unwrap_or("-").to_owned())
        });
        output::table(["task", "status", "stub", "created", "ended"], rows)
    })
}

fn task_json(task: &Task) -> Value {
    let time = |time: &Option<Timestamp>| {
        // A time before 1970, the year 1 that is, is how the API says "not yet".
        time.as_ref().filter(|time| time.seconds > 0).map(ToString::to_string)
    };
    json!({
        "id": task.id,
        "status": task.status,
        "stub_id": task.stub_id,
        "stub_name": task.stub_name,
        "container_id": task.container_id,
        "created_at": time(&task.created_at),
        "started_at": time(&task.started_at),
        "ended_at": time(&task.ended_at),
    })
}

fn explain(
    context: &Context,
    task: &str,
    connection: &connection::Arguments,
) -> Result<(), Failure> {
    let (http, path) = locate(task, connection)?;
    let answer = http.get(&format!("{path}/explain"))?;
    context.output.show(&answer, || {
        let sentence = answer["sentence"].as_str().unwrap_or_default();
        let detail = answer["detail"].as_array().map_or(&[][..], Vec::as_slice);
        let lines = detail.iter().filter_map(Value::as_str).map(|line| format!("  {line}\n"));
        format!("{sentence}\n{}", lines.collect::<String>())
    })
}

fn logs(task: &str, follow: bool, connection: &connection::Arguments) -> Result<(), Failure> {
    let (http, path) = locate(task, connection)?;
    let mut body = http.stream(&format!("{path}/logs?follow={follow}"))?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = body
            .read(&mut buffer)
            .map_err(|error| Failure::request(anyhow!(error).context("the output broke off")))?;
        if count == 0 {
            return Ok(());
        }
        output::print(&buffer[..count])?;
    }
}

/// The HTTP client for a task of the caller, and the task's path.
fn locate(task: &str, connection: &connection::Arguments) -> Result<(Http, String), Failure> {
    // Anything else could not stand in a path as it is.
    if task.is_empty() || !task.chars().all(|it| it.is_ascii_alphanumeric() || it == '-') {
        return Err(Failure::usage(anyhow!("`{task}` is not a task's id")));
    }
    let http = context::ask(client::http(connection))?;
    let workspace = http.get("/api/v1/workspace/current")?;
    let Some(workspace) = workspace["external_id"].as_str() else {
        return Err(Failure::request(anyhow!("the gateway does not say which workspace it is")));
    };
    let path = format!("/api/v1/task/{workspace}/{task}");
    Ok((http, path))
}
