//! `metal9 workspace`: the tenants of an installation.

use clap::Subcommand;
use serde_json::{Map, Value, json};

use crate::client;
use crate::connection;
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::{output, talk};

/// What to do with workspaces.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a workspace, and print its first token; it is never shown again
    Create {
        /// Its name
        name: String,
        #[command(flatten)]
        limits: Limits,
        #[command(flatten)]
        connection: connection::Arguments,
    },
    /// List workspaces and what they may have
    List {
        #[command(flatten)]
        connection: connection::Arguments,
    },
    /// Print the key by which whoever receives callbacks can tell that they are this workspace's
    CallbackKey {
        #[command(flatten)]
        connection: connection::Arguments,
    },
    /// Say what a workspace may have of the fleet, all of its calls together
    Limit {
        /// Its name or id
        name: String,
        #[command(flatten)]
        limits: Limits,
        #[command(flatten)]
        connection: connection::Arguments,
    },
}

/// What a workspace may have. What is not named stays as it is.
#[derive(Debug, Default, clap::Args)]
#[group(skip)]
pub(crate) struct Limits {
    /// Its part where several workspaces want the same; others have 1 unless told otherwise
    #[arg(long, value_name = "N")]
    weight: Option<u32>,
    /// Running calls at most; 0 for no limit, here and below
    #[arg(long, value_name = "N")]
    max_containers: Option<u64>,
    /// Processor at most, in thousandths of a core
    #[arg(long, value_name = "MILLICORES")]
    max_cpu: Option<u64>,
    /// Memory at most, in MiB
    #[arg(long, value_name = "MIB")]
    max_memory: Option<u64>,
    /// GPUs at most
    #[arg(long, value_name = "N")]
    max_gpus: Option<u64>,
    /// Requests a second at most, over gRPC and HTTP together
    #[arg(long, value_name = "N")]
    max_rate: Option<u64>,
}

impl Limits {
    fn json(&self) -> Value {
        let all = [
            ("weight", self.weight.map(u64::from)),
            ("max_containers", self.max_containers),
            ("max_cpu_millicores", self.max_cpu),
            ("max_memory_mib", self.max_memory),
            ("max_gpus", self.max_gpus),
            ("max_requests_per_second", self.max_rate),
        ];
        let named = all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        named.map(|(name, value)| (name, json!(value))).collect::<Map<_, _>>().into()
    }
}

/// Does it.
///
/// # Errors
///
/// If the gateway cannot be asked, or refuses.
pub(crate) fn run(context: &Context, command: &Command) -> Result<(), Failure> {
    context.start_log("warn")?;
    match command {
        Command::Create { name, limits, connection } => create(context, name, limits, connection),
        Command::List { connection } => list(context, connection),
        Command::CallbackKey { connection } => callback_key(context, connection),
        Command::Limit { name, limits, connection } => limit(context, name, limits, connection),
    }
}

fn create(
    context: &Context,
    name: &str,
    limits: &Limits,
    connection: &connection::Arguments,
) -> Result<(), Failure> {
    let http = context::ask(client::http(connection))?;
    let wish = json!({ "name": name, "limits": limits.json() });
    let answer = http
        .post("/api/v1/workspace", &wish)
        .map_err(|failure| failure.context(format!("cannot make workspace `{name}`")))?;
    context.output.show(&answer, || format!("{}\n", text(&answer["token"])))?;
    talk::say(format_args!("made workspace {name}; this is its token"));
    Ok(())
}

fn list(context: &Context, connection: &connection::Arguments) -> Result<(), Failure> {
    let http = context::ask(client::http(connection))?;
    let answer = http
        .get("/api/v1/workspace")
        .map_err(|failure| failure.context("cannot list workspaces"))?;
    let workspaces = answer["workspaces"].as_array().map_or(&[][..], Vec::as_slice);
    context.output.show(&answer["workspaces"], || table(workspaces))
}

fn callback_key(context: &Context, connection: &connection::Arguments) -> Result<(), Failure> {
    let http = context::ask(client::http(connection))?;
    let answer = http
        .get("/api/v1/workspace/current/callback-key")
        .map_err(|failure| failure.context("cannot read the key of callbacks"))?;
    context.output.show(&answer, || format!("{}\n", text(&answer["key"])))
}

fn limit(
    context: &Context,
    name: &str,
    limits: &Limits,
    connection: &connection::Arguments,
) -> Result<(), Failure> {
    let http = context::ask(client::http(connection))?;
    let answer = http
        .put(&format!("/api/v1/workspace/{name}/limits"), &limits.json())
        .map_err(|failure| failure.context(format!("cannot limit workspace `{name}`")))?;
    context.output.show(&answer, || table(std::slice::from_ref(&answer)))
}

fn table(workspaces: &[Value]) -> String {
    let rows = workspaces.iter().map(|workspace| {
        [
            "name",
            "id",
            "weight",
            "max_containers",
            "max_cpu_millicores",
            "max_memory_mib",
            "max_gpus",
            "max_requests_per_second",
        ]
        .map(|field| text(&workspace[field]))
    });
    let headings =
        ["workspace", "id", "weight", "containers", "millicores", "MiB", "gpus", "requests/s"];
    output::table(headings, rows)
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
