//! `metal9 audit`: who did what.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

use crate::client;
use crate::connection;
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::output;

/// How often to look for more.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Lines that are shown where nobody says how far back to go.
const LINES: u32 = 100;

/// The options of `metal9 audit`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only what was done lately, as 45s, 30m, 12h or 7d ago
    #[arg(long, value_name = "TIME", value_parser = metal9_types::seconds)]
    since: Option<u64>,
    /// Only what this token, task or worker did, or this kind: token, job, worker, gateway, nobody
    #[arg(long, value_name = "ID")]
    actor: Option<String>,
    /// Stay, and show what is done from now on
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    connection: connection::Arguments,
}

/// Shows the audit log.
///
/// # Errors
///
/// If the gateway cannot be asked, or the token may not see it.
pub(crate) fn run(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    context.start_log("warn")?;
    let http = context::ask(client::http(&arguments.connection))?;
    let mut after = None;
    loop {
        let path = path(arguments, after);
        let answer =
            http.get(&path).map_err(|failure| failure.context("cannot show the audit log"))?;
        let lines = answer["audit"].as_array().map_or(&[][..], Vec::as_slice);
        if arguments.follow || after.is_some() {
            for line in lines {
                output::print(one(context, line).as_bytes())?;
            }
        } else {
            context.output.show(&answer["audit"], || lines.iter().map(text).collect())?;
        }
        after = lines.last().and_then(|line| line["id"].as_i64()).or(after).or(Some(0));
        // A full answer to a question about the past may not be all of it.
        if !arguments.follow {
            return Ok(());
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn path(arguments: &Arguments, after: Option<i64>) -> String {
    let mut path = "/api/v1/audit?".to_owned();
    if let Some(after) = after {
        let _ = write!(path, "after={after}&");
    } else if arguments.since.is_none() {
        let _ = write!(path, "limit={LINES}&");
    }
    if let Some(since) = arguments.since {
        let _ = write!(path, "since_seconds={since}&");
    }
    if let Some(actor) = &arguments.actor {
        // Ids and kinds need no more; anything else finds nothing anyway.
        let plain = actor.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-');
        let _ = write!(path, "actor={}&", plain.collect::<String>());
    }
    path.pop();
    path
}

fn one(context: &Context, line: &Value) -> String {
    if context.output.is_json() { format!("{line}\n") } else { text(line) }
}

/// One line for a person.
fn text(line: &Value) -> String {
    let word = |name: &str| line[name].as_str().unwrap_or_default();
    let mut text = format!("{} {}", word("at"), word("actor_kind"));
    for part in [word("actor"), word("action"), word("object")] {
        if !part.is_empty() {
            let _ = write!(text, " {part}");
        }
    }
    if word("outcome") != "done" {
        let _ = write!(text, " {}", word("outcome"));
    }
    match line["count"].as_i64() {
        Some(count) if count > 1 => {
            let _ = write!(text, " {count} times");
        }
        _ => {}
    }
    for (before, name, behind) in [(" (", "detail", ")"), (" from ", "peer", "")] {
        if !word(name).is_empty() {
            let _ = write!(text, "{before}{}{behind}", word(name));
        }
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_says_who_did_what_to_what_from_where() {
        let line = json!({
            "at": "2026-01-02T03:04:05Z", "actor_kind": "token", "actor": "t-1",
            "action": "secret.update", "object": "KEY", "outcome": "done", "detail": "",
            "peer": "10.0.0.1", "count": 1,
        });
        assert_eq!(text(&line), "2026-01-02T03:04:05Z token t-1 secret.update KEY from 10.0.0.1\n");
        let line = json!({
            "at": "t", "actor_kind": "nobody", "action": "auth.fail", "object": "join",
            "outcome": "refused", "peer": "10.0.0.1", "count": 7,
        });
        assert_eq!(text(&line), "t nobody auth.fail join refused 7 times from 10.0.0.1\n");
    }
}
