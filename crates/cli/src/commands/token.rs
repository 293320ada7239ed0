//! `metal9 token`: tokens of the workspace, and tokens that workers join with.

use anyhow::anyhow;
use clap::Subcommand;
use metal9_proto::beta9::gateway::{
    CreateTokenRequest, DeleteTokenRequest, ListTokensRequest, ToggleTokenRequest, Token,
};
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
    /// Make a token that a worker joins with, and print it
    Join {
        /// The pool of the workers
        #[arg(long, default_value = "default")]
        pool: String,
        /// How long it can be used, as 45s, 30m, 12h or 7d
        #[arg(long, value_name = "TIME", default_value = "30m", value_parser = seconds)]
        ttl: u64,
        /// Let any number of workers use it
        #[arg(long)]
        reusable: bool,
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
        Command::Create { kind, connection } => create(context, kind, connection),
        Command::List { connection } => list(context, connection),
        Command::Delete { id, connection } => delete(context, id, connection),
        Command::Toggle { id, connection } => toggle(context, id, connection),
        Command::Join { pool, ttl, reusable, connection } => {
            let wish = json!({ "pool": pool, "ttl_seconds": ttl, "single_use": !reusable });
            join(context, &wish, connection)
        }
    }
}

fn create(
    context: &Context,
    kind: &str,
    connection: &connection::Arguments,
) -> Result<(), Failure> {
    let what = "cannot make a token";
    let answer = context::ask(async {
        let mut gateway = client::gateway(connection).await?;
        let request = CreateTokenRequest { token_type: kind.to_owned() };
        gateway.create_token(request).await.map_err(|status| failed(what, &status))
    })?
    .into_inner();
    accepted(what, answer.ok, &answer.err_msg)?;
    let token = answer.token.ok_or_else(|| nothing(what))?;
    let mut value = token_json(&token);
    value["key"] = json!(token.key);
    context.output.show(&value, || format!("{}\n", token.key))
}

fn list(context: &Context, connection: &connection::Arguments) -> Result<(), Failure> {
    let what = "cannot list tokens";
    let answer = context::ask(async {
        let mut gateway = client::gateway(connection).await?;
        let answer = gateway.list_tokens(ListTokensRequest {}).await;
        answer.map_err(|status| failed(what, &status))
    })?
    .into_inner();
    accepted(what, answer.ok, &answer.err_msg)?;
    let tokens: Vec<Value> = answer.tokens.iter().map(token_json).collect();
    context.output.show(&tokens, || {
        let rows = answer.tokens.iter().map(|token| {
            let created =
                token.created_at.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
            [token.token_id.clone(), token.token_type.clone(), state(token).to_owned(), created]
        });
        output::table(["token", "kind", "state", "created"], rows)
    })
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
    talk::say(format_args!(
        "on the worker's machine: metal9 worker join {} --token {} && metal9 worker run",
        text("gateway"),
        text("token")
    ));
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

/// The seconds of a time such as `30m`.
pub(super) fn seconds(text: &str) -> Result<u64, String> {
    let expected = || format!("expected a time as 45s, 30m, 12h or 7d, not `{text}`");
    let (number, unit) = text.split_at(text.find(char::is_alphabetic).unwrap_or(text.len()));
    let unit = match unit {
        "s" | "" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return Err(expected()),
    };
    let number: u64 = number.parse().map_err(|_| expected())?;
    number.checked_mul(unit).filter(|seconds| *seconds > 0).ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(seconds("45"), Ok(45));
        assert_eq!(seconds("30m"), Ok(1800));
        assert_eq!(seconds("7d"), Ok(604_800));
        for wrong in ["", "m", "0s", "1w", "-1s", "99999999999999999999d", "18446744073709551615d"]
        {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
