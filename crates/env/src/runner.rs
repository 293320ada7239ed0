//! The runner's own sources, compiled for the Python that will import them.

use std::path::Path;

use tokio::process::Command;

use crate::child_env;
use crate::process::{self, Input};

/// Byte-compiles the runner's sources; several may do so at once. Without it the runner only starts
/// slower, so that a failure is not the build's.
pub(crate) async fn compile(python: &Path, runner_dir: &Path) {
    if !runner_dir.is_dir() {
        return;
    }
    let mut command = Command::new(python);
    command.args(["-I", "-m", "compileall", "-q"]).arg(runner_dir);
    child_env::clean(&mut command);
    let problem = match process::run(command, Input::Nothing, &mut |_: &str| ()).await {
        Ok(ended) if ended.success => return,
        Ok(ended) => format!("{} {}", ended.stdout.trim(), ended.tail),
        Err(error) => error.to_string(),
    };
    tracing::warn!(directory = %runner_dir.display(), problem, "could not compile the runner");
}
