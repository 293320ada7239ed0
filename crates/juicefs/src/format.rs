//! Making a file system.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::program::{self, Program};
use crate::{Access, JuiceFsError, Settings};

/// How long that may take: it writes and removes an object.
const WITHIN: Duration = Duration::from_secs(60);

/// Makes a file system, with its contents in a directory below `home` if the settings name no other
/// place. Removed files are gone at once: with a trash, a name that was just removed by one machine
/// cannot be opened by another for a moment.
pub(crate) async fn format(
    program: &Program,
    settings: &Settings,
    access: &Access,
    home: &Path,
) -> Result<(), JuiceFsError> {
    let failed = |reason: String| JuiceFsError::Format { url: access.url().to_owned(), reason };
    let storage = &settings.storage;
    let mut command = program.command(access, "format");
    command.args(["--trash-days", "0"]);
    if let Some(kind) = &storage.storage {
        command.args(["--storage", kind]);
    }
    match &storage.bucket {
        Some(bucket) => command.args(["--bucket", bucket]),
        None if storage.storage.as_deref().is_none_or(|kind| kind == "file") => {
            command.arg("--bucket").arg(home.join("data"))
        }
        None => return Err(failed("the setting juicefs.bucket is missing".to_owned())),
    };
    let keys = [("ACCESS_KEY", &storage.access_key), ("SECRET_KEY", &storage.secret_key)];
    command.envs(keys.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))));
    command.args([&access.for_program(), settings.name()]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    tracing::info!(metadata = access.url(), name = settings.name(), "making a JuiceFS file system");
    match tokio::time::timeout(WITHIN, command.output()).await {
        Err(_) => Err(failed(format!("it took longer than {WITHIN:?}"))),
        Ok(Err(error)) => Err(program.failed(error)),
        Ok(Ok(ended)) if ended.status.success() => Ok(()),
        Ok(Ok(ended)) => Err(failed(program::reason(&String::from_utf8_lossy(&ended.stderr)))),
    }
}
