//! Whether jobs see the GPU: asked by a process that is isolated as they are.

use std::path::Path;
use std::time::Duration;

use metal9_sandbox::{Exit, Isolation, Launch, Limits, Output, run};
use serde_json::Value;

/// The hidden command that prints what Metal says.
const COMMAND: &str = "probe-metal";

/// How long it may take; the first use after a start of the machine compiles and is slow.
const LIMIT: Duration = Duration::from_secs(20);

/// Why jobs do not see the GPU; nothing if they do.
pub(super) async fn look(
    shim: &Path,
    directory: &Path,
    isolation: Option<Isolation>,
    account: Option<metal9_sandbox::Account>,
) -> Option<String> {
    let launch = Launch {
        program: shim.to_owned(),
        args: vec![COMMAND.into()],
        env: Vec::new(),
        cwd: directory.to_owned(),
        limits: Limits::default(),
        group: None,
        account,
        isolation,
    };
    match run(shim, launch, LIMIT).await {
        Ok(output) => obstacle(&output),
        Err(error) => Some(crate::errors::chain(&error)),
    }
}

/// What the probe's output says is in the way.
fn obstacle(output: &Output) -> Option<String> {
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.trim().lines().last().map_or(String::new(), |line| format!(": {line}"));
    match output.exit {
        None => {
            return Some(format!("Metal did not answer within {} seconds{last}", LIMIT.as_secs()));
        }
        Some(exit) if !exit.success() => {
            return Some(format!("the probe of Metal {}{last}", ended(exit)));
        }
        Some(_) => {}
    }
    let Ok(report) = serde_json::from_slice::<Value>(&output.stdout) else {
        return Some("the probe of Metal said something that could not be understood".to_owned());
    };
    let devices = report["devices"].as_array().map_or(0, Vec::len);
    if devices > 0 {
        return None;
    }
    let reason = report["reason"].as_str().unwrap_or("Metal lists no device");
    Some(reason.to_owned())
}

fn ended(exit: Exit) -> String {
    match exit {
        Exit::Signal(_) => format!("was {exit}"),
        Exit::Code(_) | Exit::Lost => exit.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(exit: Option<Exit>, stdout: &str, stderr: &str) -> Output {
        Output { exit, stdout: stdout.into(), stderr: stderr.into() }
    }

    #[test]
    fn a_device_in_the_sandbox_is_one_for_jobs() {
        let text = r#"{"devices":[{"name":"Apple M3 Max","registry_id":1}]}"#;
        assert_eq!(obstacle(&output(Some(Exit::Code(0)), text, "noise")), None);
    }

    #[test]
    fn what_the_probe_saw_is_what_is_told() {
        let told = |exit, stdout, stderr| obstacle(&output(exit, stdout, stderr)).unwrap();
        let fine = Some(Exit::Code(0));
        assert_eq!(told(fine, r#"{"devices":[],"reason":"it is virtual"}"#, ""), "it is virtual");
        assert_eq!(told(fine, r#"{"devices":[]}"#, ""), "Metal lists no device");
        let text = told(fine, "nonsense", "");
        assert!(text.contains("could not be understood"), "{text}");
        assert_eq!(
            told(Some(Exit::Signal(6)), "", "a\nassertion failed\n"),
            "the probe of Metal was killed by signal 6 (SIGABRT): assertion failed"
        );
        assert_eq!(told(Some(Exit::Code(2)), "", ""), "the probe of Metal exited with code 2");
        assert_eq!(told(None, "", ""), "Metal did not answer within 20 seconds");
    }
}
