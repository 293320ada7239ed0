//! `cargo xtask test`: everything that must hold before a change goes in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use crate::python::Venv;
use crate::{apt, darwin, demo, run, sdks, tidy, tools};

/// The options of a test run.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only these, separated by commas
    #[arg(long, value_delimiter = ',')]
    only: Vec<Suite>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Suite {
    /// The code is formatted
    Fmt,
    /// The rules that the compiler does not know
    Tidy,
    /// The compiler and clippy have nothing to say
    Clippy,
    /// Everything compiles for Macs, and the program links
    Darwin,
    /// The Rust tests
    Test,
    /// Licences and sources of dependencies
    Deny,
    /// The Python package's own tests, with the oldest and the newest SDK
    Python,
    /// The SDK against real processes
    E2e,
}

impl Suite {
    /// `true` for those that need nothing but the processor: they take what the others leave of it,
    /// which wait for processes, timers and the disk most of the time.
    fn can_wait(self) -> bool {
        matches!(self, Self::Darwin | Self::Deny)
    }
}

struct Outcome {
    name: String,
    took: Duration,
    end: End,
    summary: String,
}

/// How a suite ended.
enum End {
    Passed,
    /// It cannot be run here, and why.
    Skipped(String),
    Failed(String),
}

/// What a suite does.
enum Step {
    Run(Command),
    /// Nothing here, and why.
    Skip(String),
}

impl Outcome {
    fn failure(&self) -> Option<&str> {
        match &self.end {
            End::Failed(failure) => Some(failure),
            _ => None,
        }
    }
}

/// Runs the suites, collects every failure and reports them together.
///
/// # Errors
///
/// If any suite fails.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let begun = Instant::now();
    let logs = crate::root().join("target/xtask");
    fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
    let chosen = |suite: &Suite| arguments.only.is_empty() || arguments.only.contains(suite);
    let suites = Suite::value_variants().iter().copied().filter(chosen);
    let (beside, before): (Vec<_>, Vec<_>) = suites.partition(|suite| suite.can_wait());
    if beside.contains(&Suite::Darwin) {
        // Others want it too, and must not make it at the same time.
        Venv::ensure()?;
    }
    let all = |suites: Vec<Suite>| -> Vec<Outcome> {
        suites.into_iter().map(|suite| attempt(suite, &logs)).collect()
    };
    let outcomes = std::thread::scope(|scope| {
        let beside = scope.spawn(|| all(beside));
        let mut outcomes = all(before);
        // What it panicked with is shown already.
        outcomes.extend(beside.join().map_err(|_| anyhow::anyhow!("a suite panicked"))?);
        Ok::<_, anyhow::Error>(outcomes)
    })?;
    report(&outcomes, begun.elapsed())
}

fn attempt(suite: Suite, logs: &Path) -> Outcome {
    let name = suite.to_possible_value().map_or_else(String::new, |value| value.get_name().into());
    println!("    {name}");
    let started = Instant::now();
    let log = logs.join(format!("{name}.log"));
    // A log of an earlier run must not pass for this one's.
    let _ = fs::remove_file(&log);
    let end = check(suite, &name, &log).unwrap_or_else(|error| End::Failed(format!("{error:#}")));
    let text = fs::read_to_string(&log).unwrap_or_default();
    if matches!(end, End::Failed(_)) {
        print!("{text}");
    }
    let outcome = Outcome { took: started.elapsed(), summary: summary(&text), name, end };
    print_line(&outcome);
    outcome
}

fn check(suite: Suite, name: &str, log: &Path) -> Result<End> {
    let mut command = match suite {
        Suite::Tidy => return tidy::run().map(|()| End::Passed),
        Suite::Fmt => run::cargo(&["fmt", "--all", "--check"]),
        Suite::Clippy => {
            run::cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])
        }
        Suite::Test => rust()?,
        Suite::Darwin => match darwin()? {
            Step::Run(command) => command,
            Step::Skip(why) => return Ok(End::Skipped(why)),
        },
        Suite::Deny => deny()?,
        Suite::Python => python()?,
        Suite::E2e => e2e()?,
    };
    let status = run::logged(name, &mut command, log)?;
    if !status.success() {
        bail!("{status}");
    }
    Ok(End::Passed)
}

fn rust() -> Result<Command> {
    // Without it, the units are compared as text only.
    if !Path::new("/usr/bin/systemd-analyze").exists() && !apt::install(&["systemd"])? {
        println!("there is no systemd-analyze; the units are not verified");
    }
    programs(&IMAGES)?;
    Ok(run::cargo(&["test", "--workspace", "--no-fail-fast"]))
}

/// Programs, each with the package of Debian's that has it.
type Programs = [(&'static str, &'static str)];

/// What the tests of root filesystems run: a registry, and what builds images.
const IMAGES: [(&str, &str); 4] = [
    ("/usr/bin/docker-registry", "docker-registry"),
    ("/usr/bin/buildah", "buildah"),
    ("/usr/sbin/runc", "runc"),
    ("/bin/busybox", "busybox-static"),
];

/// What workers run that make containers.
const CONTAINERS: [(&str, &str); 4] = [
    ("/usr/sbin/runc", "runc"),
    ("/usr/bin/runsc", "runsc"),
    ("/usr/sbin/nft", "nftables"),
    ("/usr/sbin/ip", "iproute2"),
];

/// Installs what is not there. The tests that need it fail without.
fn programs(wanted: &Programs) -> Result<()> {
    let missing = wanted.iter().filter(|(program, _)| !Path::new(program).exists());
    let packages: Vec<&str> = missing.map(|(_, package)| *package).collect();
    if cfg!(target_os = "linux") && !packages.is_empty() && !apt::install(&packages)? {
        println!("without {} the tests of containers fail", packages.join(", "));
    }
    Ok(())
}

/// This program's own chore, if it can be done here.
fn darwin() -> Result<Step> {
    if let Some(obstacle) = darwin::obstacle()? {
        let must = !cfg!(target_os = "macos") && std::env::var_os("CI").is_some();
        return without_tools(obstacle, must);
    }
    let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
    command.arg("check-darwin");
    Ok(Step::Run(run::nicely(&command)))
}

/// Where a suite must run, because everything can be installed there, it fails instead.
fn without_tools(obstacle: String, must: bool) -> Result<Step> {
    if must {
        bail!("not checked for macOS, which must be ($CI is set): {obstacle}");
    }
    Ok(Step::Skip(obstacle))
}

fn deny() -> Result<Command> {
    let mut command = Command::new(tools::cargo_deny()?);
    command.args(["check", "licenses", "bans", "sources"]).current_dir(crate::root());
    Ok(command)
}

fn python() -> Result<Command> {
    let venv = Venv::ensure()?;
    let mut command = venv.python();
    command.args(["-m", "pytest", "-p", "no:cacheprovider"]);
    command.env(sdks::VARIABLE, sdks::ensure(&venv)?);
    command.current_dir(crate::root().join("python/metal9"));
    Ok(command)
}

fn e2e() -> Result<Command> {
    run::quietly("cargo build", &mut run::cargo(&["build", "--workspace", "--bin", "metal9"]))?;
    let venv = Venv::ensure()?;
    // Without it, the tests of a clock that jumps say that they were skipped.
    if !Path::new("/usr/bin/faketime").exists() && !apt::install(&["faketime"])? {
        println!("there is no faketime; the tests that step the clock are skipped");
    }
    programs(&CONTAINERS)?;
    programs(&IMAGES)?;
    // Without these, the tests of volumes on JuiceFS say that they were skipped.
    let there = ["/usr/bin/fusermount3", "/usr/bin/redis-server"].map(|it| Path::new(it).exists());
    if there != [true, true] && !apt::install(&["fuse3", "redis-server"])? {
        println!("there is no fuse3 or redis-server; the tests of JuiceFS are skipped");
    }
    let mut command = venv.python();
    command
        .args(["-m", "pytest", "-p", "no:cacheprovider", "--durations", "10"])
        .current_dir(crate::root().join("tests/e2e"))
        .env("METAL9_BIN", built()?)
        .env("PATH", demo::search_path(&venv)?);
    Ok(command)
}

fn built() -> Result<PathBuf> {
    crate::root().join("target/debug/metal9").canonicalize().context("metal9 was not built")
}

/// What the tools themselves counted: cargo's lines added up, or pytest's last one.
fn summary(log: &str) -> String {
    let counts: Vec<[u32; 2]> = log.lines().filter_map(cargo_counts).collect();
    if !counts.is_empty() {
        let [passed, failed] =
            counts.iter().fold([0, 0], |[p, f], [passed, failed]| [p + passed, f + failed]);
        return format!("{passed} passed, {failed} failed");
    }
    log.lines()
        .rev()
        .map(|line| line.trim_matches(['=', ' ']))
        .find(|line| line.contains(" passed") || line.contains(" failed"))
        .map_or_else(String::new, |line| line.split(" in ").next().unwrap_or(line).to_owned())
}

/// Tests that passed and failed in all suites, by their summaries.
fn total<'a>(summaries: impl Iterator<Item = &'a str>) -> [u32; 2] {
    summaries.fold([0, 0], |[passed, failed], summary| {
        let count = |word| count_before(summary, word).unwrap_or(0);
        [passed + count(" passed"), failed + count(" failed")]
    })
}

/// The number that stands before a word.
fn count_before(text: &str, word: &str) -> Option<u32> {
    let (before, _) = text.split_once(word)?;
    before.split_whitespace().next_back()?.parse().ok()
}

/// Passed and failed in a line of `cargo test`.
fn cargo_counts(line: &str) -> Option<[u32; 2]> {
    let rest = line.strip_prefix("test result: ")?;
    Some([count_before(rest, " passed")?, count_before(rest, " failed")?])
}

fn print_line(outcome: &Outcome) {
    println!("{}", line(outcome));
}

fn line(outcome: &Outcome) -> String {
    let Outcome { name, took, end, summary } = outcome;
    let (verdict, said) = match end {
        End::Passed => ("ok     ", summary.clone()),
        End::Skipped(why) => ("skipped", format!("skipped: {why}")),
        End::Failed(_) => ("FAILED ", summary.clone()),
    };
    format!("{verdict} {name:<8} {:>7.1} s  {said}", took.as_secs_f64())
}

fn report(outcomes: &[Outcome], took: Duration) -> Result<()> {
    println!("\n{} suites in {:.1} s", outcomes.len(), took.as_secs_f64());
    outcomes.iter().for_each(print_line);
    let failed: Vec<&str> = outcomes
        .iter()
        .filter(|outcome| outcome.failure().is_some())
        .map(|outcome| outcome.name.as_str())
        .collect();
    for outcome in outcomes {
        if let Some(failure) = outcome.failure() {
            println!("{}: {failure}", outcome.name);
        }
    }
    let skipped = outcomes.iter().filter(|outcome| matches!(outcome.end, End::Skipped(_))).count();
    match (failed.is_empty(), skipped) {
        (true, 0) => println!("all is well"),
        (true, skipped) => println!("all that was run is well; {skipped} skipped"),
        (false, _) => {}
    }
    let [passed, tests_failed] = total(outcomes.iter().map(|outcome| outcome.summary.as_str()));
    println!("{passed} passed, {tests_failed} failed");
    if failed.is_empty() {
        return Ok(());
    }
    bail!(
        "{} of {} suites failed: {}; logs are in target/xtask",
        failed.len(),
        outcomes.len(),
        failed.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_all_test_programs_are_added_up() {
        let log = "test result: ok. 3 passed; 0 failed; 0 ignored\nnoise\n\
                   test result: FAILED. 4 passed; 1 failed; 0 ignored\n";
        assert_eq!(summary(log), "7 passed, 1 failed");
    }

    #[test]
    fn the_last_line_of_pytest_is_the_summary() {
        assert_eq!(summary("x\n===== 2 failed, 9 passed in 3.21s =====\n"), "2 failed, 9 passed");
        assert_eq!(summary("nothing of the kind"), "");
    }

    #[test]
    fn a_suite_that_cannot_be_run_is_no_success() {
        let Step::Skip(why) = without_tools("there is no rustc".into(), false).unwrap() else {
            panic!("it would run");
        };
        let took = Duration::from_secs(1);
        let outcome =
            Outcome { name: "darwin".into(), took, end: End::Skipped(why), summary: String::new() };
        let shown = line(&outcome);
        assert!(shown.starts_with("skipped ") && shown.ends_with("skipped: there is no rustc"));
        assert!(without_tools("there is no rustc".into(), true).is_err());
    }

    #[test]
    fn tests_of_all_suites_are_added_up() {
        let summaries = ["448 passed, 1 failed", "", "2 failed, 9 passed", "276 passed"];
        assert_eq!(total(summaries.into_iter()), [733, 3]);
    }
}
