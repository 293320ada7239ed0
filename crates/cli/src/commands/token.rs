//! `metal9 token`: tokens of the workspace, and tokens that workers join with.

use anyhow::anyhow;
use clap::Subcommand;
use metal9_proto::beta9::gateway::{DeleteTokenRequest, ToggleTokenRequest, Token};
use metal9_types::seconds;
use serde_json::{Value, json};

use crate::client::{self, accepted, failed};
use crate::connection;
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::{output, talk};

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a token and print it; it is never shown again
    Create {
        /// What it may do: `workspace`, or `workspace_restricted` to call but not to administer
        #[arg(long, default_value = "workspace")]
        kind: String,
        /// What it is for
        #[arg(long, default_value = "")]
        name: String,
        /// How long it can be used, as 45s, 30m, 12h or 7d [default: until it is deleted]
        #[arg(long, value_name = "TIME", value_parser = seconds)]
        expires: Option<u64>,
        #[command(flatten)]
        connection: connection::Arguments,
    },
    /// List tokens
    List {
        #[command(flatten)]
        connection: connection::Arguments,
    },
    /// Delete a token
    Delete {
        /// The token's id
        id: String,
        #[command(flatten)]
        connection: connection::Arguments,
    },
    /// Switch a token off, or on again
    Toggle {
        /// The token's id
        id: String,
        #[command(flatten)]
        connection: connection::Arguments,
    },
    /// Make a token that a worker joins with, and print it; or look after such tokens
    #[command(args_conflicts_with_subcommands = true)]
    Join {
        #[command(subcommand)]
        command: Option<JoinCommand>,
        /// The pool of the workers
        #[arg(long, default_value = "default")]
        pool: String,
        /// How long it can be used, as 45s, 30m, 12h or 7d
        #[arg(long, alias = "ttl", value_name = "TIME", default_value = "30m", value_parser = seconds)]
        expires: u64,
        /// Let any number of workers use it
        #[arg(long)]
        reusable: bool,
        #[command(flatten)]
        connection: connection::Arguments,
    },
}

/// What to do with tokens that workers join with.
#[derive(Debug, Subcommand)]
pub(crate) enum JoinCommand {
    /// List them
    List {
        #[command(flatten)]
        connection: connection::Arguments,
    },
    /// Take one back; workers that have joined with it stay
    Revoke {
        /// The join token's id
        id: String,
        #[command(flatten)]
        connection: connection::Arguments,
    },
}

/// Manages tokens.
///
/// # Errors
///
/// If the gateway cannot be asked, or refuses.
pub(crate) fn run(context: &Context, command: &Command) -> Result<(), Failure> {
    context.start_log("warn")?;
    match command {
        Command::Create { kind, name, expires, connection } => {
            let wish = json!({ "kind": kind, "name": name, "ttl_seconds": expires });
            create(context, &wish, connection)
        }
        Command::List { connection } => list(context, connection),
        Command::Delete { id, connection } => delete(context, id, connection),
        Command::Toggle { id, connection } => toggle(context, id, connection),
        Command::Join { command: Some(JoinCommand::List { connection }), .. } => {
            list_join_tokens(context, connection)
        }
        Command::Join { command: Some(JoinCommand::Revoke { id, connection }), .. } => {
            revoke_join_token(context, id, connection)
        }
        Command::Join { command: None, pool, expires, reusable, connection } => {
            let wish = json!({ "pool": pool, "ttl_seconds": expires, "single_use": !reusable });
            join(context, &wish, connection)
        }
    }
}

fn create(
    context: &Context,
    wish: &Value,
    connection: &connection::Arguments,
) -> Result<(), Failure> {
    let http = context::ask(client::http(connection))?;
    let answer = http
        .post("/api/v1/token", wish)
        .map_err(|failure| failure.context("cannot make a token"))?;
    let key = answer["key"].as_str().ok_or_else(|| nothing("cannot make a token"))?;
    context.output.show(&answer, || format!("{key}\n"))
}

fn list(context: &Context, connection: &connection::Arguments) -> Result<(), Failure> {
    let http = context::ask(client::http(connection))?;
    let answer =
        http.get("/api/v1/token").map_err(|failure| failure.context("cannot list tokens"))?;
    context.output.show(&answer["tokens"], || {
        let tokens = answer["tokens"].as_array().map_or(&[][..], Vec::as_slice);
        let rows = tokens.iter().map(|token| {
            let word = |name: &str| token[name].as_str().unwrap_or("-").to_owned();
            let state = if token["active"] == true { "on" } else { "off" };
            [
                word("token_id"),
                word("token_type"),
                state.to_owned(),
                word("created_at"),
                word("expires_at"),
                word("name"),
            ]
        });
        output::table(["token", "kind", "state", "created", "expires", "name"], rows)
    })
}

fn list_join_tokens(context: &Context, connection: &connection::Arguments) -> Result<(), Failure> {
    let http = context::ask(client::http(connection))?;
    let answer = http
        .get("/api/v1/worker/join-tokens")
        .map_err(|failure| failure.context("cannot list join tokens"))?;
    context.output.show(&answer["join_tokens"], || {
        let tokens = answer["join_tokens"].as_array().map_or(&[][..], Vec::as_slice);
        let rows = tokens.iter().map(|token| {
            let word = |name: &str| token[name].as_str().unwrap_or("-").to_owned();
            let uses = if token["single_use"] == true { "one" } else { "any" };
            [
                word("id"),
                word("pool"),
                word("state"),
                uses.to_owned(),
                token["used"].to_string(),
                word("expires_at"),
            ]
        });
        output::table(["join token", "pool", "state", "workers", "joined", "expires"], rows)
    })
}

fn revoke_join_token(
    context: &Context,
    id: &str,
    connection: &connection::Arguments,
) -> Result<(), Failure> {
    let http = context::ask(client::http(connection))?;
    let answer = http
        .delete(&format!("/api/v1/worker/join-tokens/{id}"))
        .map_err(|failure| failure.context(format!("cannot revoke join token `{id}`")))?;
    context.output.show(&answer, || format!("join token {id} is revoked\n"))
}

fn delete(context: &Context, id: &str, connection: &connection::Arguments) -> Result<(), Failure> {
    let what = format!("cannot delete token `{id}`");
    let answer = context::ask(async {
        let mut gateway = client::gateway(connection).await?;
        let answer = gateway.delete_token(DeleteTokenRequest { token_id: id.to_owned() }).await;
        answer.map_err(|status| failed(&what, &status))
    })?
    .into_inner();
    accepted(&what, answer.ok, &answer.err_msg)?;
    context.output.show(&json!({ "deleted": id }), || format!("deleted token {id}\n"))
}

fn toggle(context: &Context, id: &str, connection: &connection::Arguments) -> Result<(), Failure> {
    let what = format!("cannot switch token `{id}`");
    let answer = context::ask(async {
        let mut gateway = client::gateway(connection).await?;
        let answer = gateway.toggle_token(ToggleTokenRequest { token_id: id.to_owned() }).await;
        answer.map_err(|status| failed(&what, &status))
    })?
    .into_inner();
    accepted(&what, answer.ok, &answer.err_msg)?;
    let token = answer.token.ok_or_else(|| nothing(&what))?;
    context.output.show(&token_json(&token), || format!("token {id} is {}\n", state(&token)))
}

fn join(
    context: &Context,
    wish: &Value,
    connection: &connection::Arguments,
) -> Result<(), Failure> {
    let http = context::ask(client::http(connection))?;
    let answer = http
        .post("/api/v1/worker/join-tokens", wish)
        .map_err(|failure| failure.context("cannot make a join token"))?;
    let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    context.output.show(&answer, || format!("{}\n", text("token")))?;
    talk::say(format_args!("on the worker's machine: {}", text("command")));
    Ok(())
}

fn nothing(what: &str) -> Failure {
    Failure::request(anyhow!("the gateway sent no token")).context(what.to_owned())
}

fn state(token: &Token) -> &'static str {
    if token.active { "on" } else { "off" }
}

fn token_json(token: &Token) -> Value {
    json!({
        "token_id": token.token_id,
        "token_type": token.token_type,
        "active": token.active,
        "created_at": token.created_at.as_ref().map(ToString::to_string),
    })
}
