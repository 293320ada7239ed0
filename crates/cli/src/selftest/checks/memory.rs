//! A job that uses more memory than it asked for is ended.

use anyhow::Result;
use serde_json::json;

use super::{Found, Library};
use crate::selftest::client::{Ask, End, found, tail};
use crate::selftest::jobs::Jobs;

/// What the job asks for, in MiB.
const ASKED: i64 = 128;

/// What it uses, unless it is stopped.
const USED: i64 = 768;

/// The same for one with a library that is large itself.
const ASKED_OF_LIBRARY: i64 = 768;
const USED_BY_LIBRARY: i64 = 3072;

/// The exit code of what was killed for its memory.
const KILLED: i32 = 137;

/// Who ends jobs, by what is said to the caller.
const ENDERS: [(&str, &str); 3] = [
    ("so the kernel ended it", "the kernel, by the cgroup's limit"),
    ("as the system does with one that uses too much memory", "the kernel, by the program's limit"),
    ("memory limit exceeded", "the worker, which had looked"),
];

/// Runs a job that uses too much.
pub(in crate::selftest) async fn memory(jobs: &Jobs) -> Result<Found> {
    let ask = Ask { memory: ASKED, ..Ask::new("hog") };
    let end = jobs.run(&ask, json!({ "mebibytes": USED })).await?;
    Ok(judge(&end, ASKED, USED))
}

/// The same with the buffers of a library, which are the GPU's if the worker has one.
pub(in crate::selftest) async fn buffers(
    jobs: &Jobs,
    library: Library,
    gpu: bool,
) -> Result<Found> {
    let selector = if gpu { "MPS" } else { "" };
    let ask = Ask { memory: ASKED_OF_LIBRARY, gpu: selector.to_owned(), ..Ask::new(library.hog()) };
    let end = jobs.run(&ask, json!({ "mebibytes": USED_BY_LIBRARY })).await?;
    Ok(judge(&end, ASKED_OF_LIBRARY, USED_BY_LIBRARY))
}

/// What the end of a job that wanted `used` MiB means.
fn judge(end: &End, asked: i64, used: i64) -> Found {
    let said = found(&end.output, 1).unwrap_or_default();
    if let Some(refused) = said["refused"].as_str() {
        let held = said["used"].as_i64().unwrap_or(0);
        return Found::ok(format!(
            "a job that asked for {asked} MiB was refused more than {held} MiB by its library: {refused}"
        ));
    }
    let ender = ENDERS.iter().find(|(words, _)| end.output.contains(words));
    if let Some((_, who)) = ender.filter(|_| end.exit_code == KILLED) {
        return Found::ok(format!(
            "a job that asked for {asked} MiB was ended before it had {used} MiB, by {who}"
        ));
    }
    let last = tail(&end.output);
    Found::fail(format!(
        "a job that asked for {asked} MiB and used {used} MiB ended with exit code {}: {last}",
        end.exit_code
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Status;
    use crate::selftest::client::MARK;

    fn ended(exit_code: i32, output: &str) -> Found {
        judge(&End { output: output.to_owned(), exit_code, result: false }, 128, 768)
    }

    #[test]
    fn who_ended_a_job_is_told() {
        for (said, who) in [
            (
                "memory limit exceeded: the function asked for 128 MiB and used 301 MiB",
                "had looked",
            ),
            (
                "memory limit exceeded: it asked for 128 MiB and needed more, so the kernel ended it",
                "cgroup",
            ),
            (
                "the function's process was killed by signal 9 (SIGKILL) before it returned, as the \
                 system does with one that uses too much memory: the function asked for 128 MiB",
                "the program's limit",
            ),
        ] {
            let found = ended(KILLED, said);
            assert!(found.status == Status::Ok && found.text.contains(who), "{found:?}");
            assert_eq!(ended(0, said).status, Status::Fail);
        }
    }

    #[test]
    fn a_job_that_got_all_it_wanted_or_died_of_something_else_fails() {
        assert_eq!(ended(0, &format!("{MARK}{{\"used\": 768}}\n")).status, Status::Fail);
        assert_eq!(ended(KILLED, "killed").status, Status::Fail);
    }

    #[test]
    fn a_library_may_refuse_by_itself() {
        let output = format!("{MARK}{{\"used\": 640, \"refused\": \"MPS out of memory\"}}\n");
        let found = ended(0, &output);
        assert_eq!(found.status, Status::Ok);
        assert!(found.text.contains("more than 640 MiB by its library: MPS out of memory"));
    }
}
