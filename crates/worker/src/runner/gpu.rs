//! Whether jobs see the GPU: asked by a process that is isolated as they are.

use std::path::Path;

use metal9_device::probe::{self, PATIENCE};
use metal9_sandbox::{
    Exit, Isolation, JobPaths, Launch, Limits, Means, Network, Output, RealMachine,
    darwin_file_rules, run,
};

/// Why jobs that are isolated by `means` do not see the GPU of this Mac; nothing if they do.
///
/// `directory` is one in which a job may do as it likes. A worker asks by itself when it starts; this
/// is for who wants to know without one.
pub async fn gpu_obstacle(shim: &Path, directory: &Path, means: Means) -> Option<String> {
    let job = JobPaths {
        programs: vec![shim.to_owned()],
        python: shim.to_owned(),
        own: directory.to_owned(),
        temporary: directory.to_owned(),
        ..JobPaths::default()
    };
    let home = std::env::home_dir().unwrap_or_default();
    let isolation = means.isolate().then(|| Isolation {
        means,
        files: darwin_file_rules(&RealMachine, &job, &home),
        network: Network::None,
        gpu: true,
    });
    look(shim, directory, isolation, None).await
}

/// Why jobs do not see the GPU; nothing if they do.
pub(super) async fn look(
    shim: &Path,
    directory: &Path,
    isolation: Option<Isolation>,
    account: Option<metal9_sandbox::Account>,
) -> Option<String> {
    let launch = Launch {
        program: shim.to_owned(),
        args: vec![probe::COMMAND.into()],
        env: Vec::new(),
        cwd: directory.to_owned(),
        limits: Limits::default(),
        group: None,
        account,
        isolation,
        container: None,
    };
    match run(shim, launch, PATIENCE).await {
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
            return Some(format!(
                "Metal did not answer within {} seconds{last}",
                PATIENCE.as_secs()
            ));
        }
        Some(exit) if !exit.success() => {
            return Some(format!("the probe of Metal {}{last}", ended(exit)));
        }
        Some(_) => {}
    }
    let Ok(report) = serde_json::from_slice::<probe::Report>(&output.stdout) else {
        return Some("the probe of Metal said something that could not be understood".to_owned());
    };
    report.obstacle()
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
    fn a_device_that_computes_in_the_sandbox_is_one_for_jobs() {
        let text = r#"{"devices":[{"name":"Apple M3 Max","registry_id":1,"has_unified_memory":true,
            "recommended_max_working_set":1,"max_buffer_length":1,"architecture":"applegpu_g15s",
            "families":[],"computes":true}]}"#;
        assert_eq!(obstacle(&output(Some(Exit::Code(0)), text, "noise")), None);
        let idle = text.replace("true}]", r#"false,"reason":"it makes no command queue"}]"#);
        assert_eq!(
            obstacle(&output(Some(Exit::Code(0)), &idle, "noise")).unwrap(),
            "Apple M3 Max: it does not compute: it makes no command queue"
        );
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
