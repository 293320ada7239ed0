//! Jobs that run as another account, which only root can have them do.

use std::time::Duration;

use metal9_sandbox::{
    Account, Exit, Isolation, JobPaths, Launch, Network, Output, RealMachine, Sought, SpawnError,
    file_rules, probe, run,
};
use nix::unistd::{Gid, Uid, chown, geteuid};

use crate::support::{fixture, shell, soon};

const LONG: Duration = Duration::from_secs(20);

/// What a job can be told to say of itself.
const WHO: &str = "id -u; id -g; id -G; cat /proc/self/status | grep -c 'CapEff:.*[1-9a-f]'; \
                   echo mine > written && echo wrote";

fn nobody() -> Account {
    Account::find("nobody").unwrap().unwrap()
}

fn expect_nobody(output: &Output) {
    let Account { uid, gid } = nobody();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text, format!("{uid}\n{gid}\n{gid}\n0\nwrote\n"), "{output:?}");
    assert_eq!(output.exit, Some(Exit::Code(0)));
}

/// Runs a job as nobody in a directory of its own; whoever is not root cannot.
async fn as_nobody(isolated: bool) -> Result<Output, SpawnError> {
    // Without isolation the job goes through the directories above, so not in a home.
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("own");
    std::fs::create_dir_all(own.join("tmp")).unwrap();
    let Account { uid, gid } = nobody();
    if geteuid().is_root() {
        chown(&own, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).unwrap();
        chown(folder.path(), Some(Uid::from_raw(uid)), None).unwrap();
    }
    let isolation = if isolated {
        let probed = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let means =
            soon("the probe", probe(fixture(), probed.path(), Sought::Everything)).await.unwrap();
        let job = JobPaths {
            python: "/usr/bin/env".into(),
            temporary: own.join("tmp"),
            own: own.clone(),
            ..JobPaths::default()
        };
        let files = file_rules(&RealMachine, &job);
        Some(Isolation { means, files, network: Network::Full, gpu: false })
    } else {
        None
    };
    let launch = Launch { cwd: own, account: Some(nobody()), isolation, ..shell(WHO) };
    soon("the job", run(fixture(), launch, LONG)).await
}

#[tokio::test]
async fn a_job_is_the_account_and_nothing_more() {
    match as_nobody(false).await {
        Ok(output) => expect_nobody(&output),
        Err(error) => assert!(!geteuid().is_root(), "{error:?}"),
    }
}

#[tokio::test]
async fn an_isolated_job_is_the_account_too() {
    match as_nobody(true).await {
        Ok(output) => expect_nobody(&output),
        Err(error) => assert!(!geteuid().is_root(), "{error:?}"),
    }
}
