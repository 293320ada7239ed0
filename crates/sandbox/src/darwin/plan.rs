//! The steps by which a new process on a Mac becomes the program, in order and with their values.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use super::profile::{Profile, ProfileError, Reach, profile};
use crate::account::Account;
use crate::isolation::Network;
use crate::launch::Launch;

/// What only the machine knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The ports of the loopback interface on which the worker relays to the gateway.
    pub relay_ports: Vec<u16>,
    /// The directory of caches of the account that the job runs as.
    pub caches: Option<PathBuf>,
    /// The major version of its kernel, as 25; 0 if unknown.
    pub kernel: u32,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlanStep {
    /// Becoming the leader of a session and a process group of its own.
    Session,
    /// Undoing what parents ignore or block.
    DefaultSignals,
    /// `RLIMIT_NOFILE`, capped by what the worker itself has.
    OpenFiles(u64),
    /// `RLIMIT_CORE` of nothing.
    NoCoreDumps,
    /// `RLIMIT_NPROC`, which counts the processes of an account.
    Processes(u64),
    /// Leaving the background: a process that is in it, as its parents may be, gets only the slow
    /// cores and waits for every other one's reads and writes.
    Foreground,
    /// Becoming another account.
    Account(Account),
    /// Entering the sandbox by this profile.
    Sandbox(String),
    /// Becoming the program. The last step, since a limit of memory does not outlive another.
    Program {
        /// Its file.
        program: PathBuf,
        /// Its arguments.
        args: Vec<OsString>,
        /// The most that its physical footprint may be, in MiB: the kernel kills it if it is more.
        memory_mib: Option<u32>,
    },
}

/// All steps of one launch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// In order.
    pub steps: Vec<PlanStep>,
}

/// The steps for a launch.
///
/// `setrlimit` of the address space is none of them: a process has mapped hundreds of GiB before it
/// has done anything, and a limit below that is refused. The address space is not what counts
/// either; what does is the physical footprint, in which the GPU's buffers are.
///
/// # Errors
///
/// If its paths cannot be written in a profile.
pub fn plan(launch: &Launch, facts: &Facts) -> Result<Plan, ProfileError> {
    let mut steps = vec![PlanStep::Session, PlanStep::DefaultSignals];
    steps.extend(launch.limits.open_files.map(PlanStep::OpenFiles));
    if !launch.limits.core_dumps {
        steps.push(PlanStep::NoCoreDumps);
    }
    // Else it would count everything that the worker's own user runs.
    if launch.account.is_some() {
        steps.extend(launch.limits.processes.map(PlanStep::Processes));
    }
    steps.push(PlanStep::Foreground);
    steps.extend(launch.account.map(PlanStep::Account));
    if let Some(isolation) = launch.isolation.as_ref().filter(|it| it.means.seatbelt) {
        let reach = match isolation.network {
            Network::Full => Reach::Everything,
            Network::GatewayOnly => Reach::Ports(facts.relay_ports.clone()),
            Network::None => Reach::Nothing,
        };
        let caches = facts.caches.as_deref();
        let (files, gpu, kernel) = (&isolation.files, isolation.gpu, facts.kernel);
        let job = Profile { files, reach, gpu, caches, kernel };
        steps.push(PlanStep::Sandbox(profile(&job)?));
    }
    steps.push(PlanStep::Program {
        program: launch.program.clone(),
        args: launch.args.clone(),
        memory_mib: launch.limits.memory_mib.map(|most| u32::try_from(most).unwrap_or(u32::MAX)),
    });
    Ok(Plan { steps })
}

impl fmt::Display for Plan {
    /// One step a line, without the text of the profile.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            match step {
                PlanStep::Session => writeln!(f, "setsid")?,
                PlanStep::DefaultSignals => writeln!(f, "default signals, none blocked")?,
                PlanStep::OpenFiles(most) => writeln!(f, "RLIMIT_NOFILE {most}")?,
                PlanStep::NoCoreDumps => writeln!(f, "RLIMIT_CORE 0")?,
                PlanStep::Processes(most) => writeln!(f, "RLIMIT_NPROC {most}")?,
                PlanStep::Foreground => writeln!(f, "PRIO_DARWIN_PROCESS 0")?,
                PlanStep::Account(Account { uid, gid }) => writeln!(f, "uid {uid} gid {gid}")?,
                PlanStep::Sandbox(profile) => {
                    writeln!(f, "sandbox_init, profile of {} lines", profile.lines().count())?;
                }
                PlanStep::Program { program, args, memory_mib } => {
                    write!(f, "posix_spawn SETEXEC {}", program.display())?;
                    for argument in args {
                        write!(f, " {}", argument.display())?;
                    }
                    match memory_mib {
                        Some(most) => writeln!(
                            f,
                            ", jetsam priority -1, active {most} MiB fatal, inactive {most} MiB fatal"
                        )?,
                        None => writeln!(f, ", no jetsam limit")?,
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isolation::{Access, FileRule, Isolation, Means};
    use crate::launch::Limits;

    fn launch() -> Launch {
        Launch {
            program: "/w/env/1/bin/python".into(),
            args: vec!["-s".into(), "/w/runner/__main__.py".into()],
            env: vec![("TMPDIR".into(), "/w/containers/7/tmp".into())],
            cwd: "/w/containers/7/code".into(),
            limits: Limits::default(),
            group: None,
            account: None,
            isolation: None,
            container: None,
        }
    }

    fn isolation(network: Network) -> Isolation {
        Isolation {
            means: Means::darwin(),
            files: vec![FileRule::new("/w/containers/7", Access::Write)],
            network,
            gpu: true,
        }
    }

    #[test]
    fn the_limit_of_memory_comes_with_the_last_step() {
        let limits = Limits {
            open_files: Some(10240),
            core_dumps: false,
            processes: Some(4096),
            memory_mib: Some(8192),
        };
        let account = Some(Account { uid: 502, gid: 20 });
        let launch =
            Launch { limits, account, isolation: Some(isolation(Network::None)), ..launch() };
        let plan = plan(&launch, &Facts::default()).unwrap().to_string();
        let lines: Vec<&str> = plan.lines().collect();
        assert!(lines[7].starts_with("sandbox_init, profile of "), "{plan}");
        assert_eq!(
            [&lines[..7], &lines[8..]].concat(),
            [
                "setsid",
                "default signals, none blocked",
                "RLIMIT_NOFILE 10240",
                "RLIMIT_CORE 0",
                "RLIMIT_NPROC 4096",
                "PRIO_DARWIN_PROCESS 0",
                "uid 502 gid 20",
                "posix_spawn SETEXEC /w/env/1/bin/python -s /w/runner/__main__.py, \
                 jetsam priority -1, active 8192 MiB fatal, inactive 8192 MiB fatal",
            ]
        );
    }

    #[test]
    fn a_launch_without_limits_and_isolation_has_few_steps() {
        let limits = Limits { processes: Some(4096), core_dumps: true, ..Limits::default() };
        let launch = Launch { limits, ..launch() };
        assert_eq!(
            plan(&launch, &Facts::default()).unwrap().to_string(),
            "setsid\n\
             default signals, none blocked\n\
             PRIO_DARWIN_PROCESS 0\n\
             posix_spawn SETEXEC /w/env/1/bin/python -s /w/runner/__main__.py, no jetsam limit\n"
        );
    }

    #[test]
    fn the_profile_has_the_ports_and_caches_of_the_machine() {
        let facts =
            Facts { relay_ports: vec![50001, 50002], caches: Some("/c/C".into()), kernel: 25 };
        let profile = |network| {
            let launch = Launch { isolation: Some(isolation(network)), ..launch() };
            let plan = plan(&launch, &facts).unwrap();
            plan.steps.into_iter().find_map(|step| match step {
                PlanStep::Sandbox(profile) => Some(profile),
                _ => None,
            })
        };
        let relayed = profile(Network::GatewayOnly).unwrap();
        assert!(relayed.contains("localhost:50001") && relayed.contains("localhost:50002"));
        assert!(relayed.contains("^/c/C/"));
        assert!(relayed.contains("iokit-open-user-client"));
        assert!(!profile(Network::Full).unwrap().contains("50001"));
        assert!(!profile(Network::None).unwrap().contains("remote"));
    }

    #[test]
    fn a_path_that_cannot_be_written_stops_the_launch() {
        let mut isolation = isolation(Network::None);
        isolation.files.push(FileRule::new("/a\nb", Access::Hidden));
        let launch = Launch { isolation: Some(isolation), ..launch() };
        assert!(plan(&launch, &Facts::default()).is_err());
    }
}
