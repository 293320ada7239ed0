//! `metal9 status`: the fleet at a glance.

use std::fmt::Write as _;

use serde_json::Value;

use crate::client;
use crate::connection;
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::output;

/// The options of `metal9 status`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    connection: connection::Arguments,
}

/// Shows workers, containers and tasks.
///
/// # Errors
///
/// If the gateway cannot be asked.
pub(crate) fn run(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    context.start_log("warn")?;
    let http = context::ask(client::http(&arguments.connection))?;
    let status = http
        .get("/api/v1/status")
        .map_err(|failure| failure.context("cannot show the gateway's status"))?;
    context.output.show(&status, || text(&status))
}

fn text(status: &Value) -> String {
    let mut text = format!("metal9 {}\n", word(&status["version"]));
    let workers = status["workers"].as_array().map_or(&[][..], Vec::as_slice);
    if workers.is_empty() {
        text.push_str("\nno worker is connected\n");
    } else {
        let headings = [
            "worker", "pool", "state", "platform", "runtime", "cpu", "memory", "devices", "running",
        ];
        let _ = write!(text, "\n{}", output::table(headings, workers.iter().map(row)));
    }
    for worker in workers.iter().filter(|worker| worker["isolation"] == "off") {
        let name = word(&worker["hostname"]);
        let _ = writeln!(text, "warning: jobs on {name} are NOT ISOLATED from the machine");
    }
    for note in workers.iter().flat_map(notes) {
        let _ = writeln!(text, "note: {note}");
    }
    let tasks = status["tasks"].as_object();
    let counts: Vec<String> = tasks
        .into_iter()
        .flatten()
        .map(|(status, count)| format!("{} {}", word(count), status.to_lowercase()))
        .collect();
    let tasks = if counts.is_empty() { "none".to_owned() } else { counts.join(", ") };
    let _ = write!(text, "\ntasks: {tasks}\ncontainers: {}\n", word(&status["containers"]));
    text
}

fn row(worker: &Value) -> [String; 9] {
    let amount = |name: &str| {
        let of = |whole: &str| worker[whole][name].as_u64();
        match (of("free"), of("capacity")) {
            (Some(free), Some(all)) => (free, all),
            _ => (0, 0),
        }
    };
    let (free_cpu, all_cpu) = amount("cpu_millicores");
    let (free_memory, all_memory) = amount("memory_mib");
    let devices = worker["devices"].as_array().map_or(&[][..], Vec::as_slice);
    let users = |index: usize| worker["device_users"][index].as_u64().unwrap_or(0);
    let usage = |index: usize| &worker["condition"]["devices"][index];
    let devices = devices.iter().enumerate();
    let devices = devices.map(|(index, one)| device(one, users(index), usage(index)));
    let devices: Vec<String> = devices.collect();
    let untrusted = if worker["untrusted"] == true { " (untrusted)" } else { "" };
    let runtimes = worker["runtimes"].as_array().map_or(&[][..], Vec::as_slice);
    let runtimes: Vec<String> = runtimes.iter().map(word).collect();
    [
        word(&worker["hostname"]),
        format!("{}{untrusted}", word(&worker["pool"])),
        state(worker).to_owned(),
        word(&worker["platform"]),
        if runtimes.is_empty() { "-".to_owned() } else { runtimes.join(", ") },
        format!("{}/{}", cores(free_cpu), cores(all_cpu)),
        format!("{free_memory}/{all_memory} MiB"),
        if devices.is_empty() { "-".to_owned() } else { devices.join(", ") },
        match &worker["running"] {
            Value::Array(running) => running.len().to_string(),
            running => word(running),
        },
    ]
}

fn state(worker: &Value) -> &'static str {
    let is = |name: &str| worker[name] == true;
    match () {
        () if !is("connected") => "lost",
        () if is("leaving") => "leaving",
        () if is("draining") && worker["containers"] == 0 => "drained",
        () if is("draining") => "draining",
        () if is("cordoned") => "cordoned",
        () if is("suspect") => "silent",
        () => "ready",
    }
}

/// What a person should know of a worker's machine.
fn notes(worker: &Value) -> Vec<String> {
    let name = word(&worker["hostname"]);
    let mut notes = Vec::new();
    if worker["machine"]["simulated"] == true {
        notes.push(format!("what {name} says of its machine is simulated"));
    }
    let found = worker["machine"]["notes"].as_array().map_or(&[][..], Vec::as_slice);
    notes.extend(found.iter().map(|note| format!("{name}: {}", word(note))));
    let begins = match (worker["rests"] == true, worker["gpus_rest"] == true) {
        (true, _) => "nothing new",
        (false, true) => "no gpu jobs",
        (false, false) => return notes,
    };
    let condition = &worker["condition"];
    let why = match (condition["thermal"].as_str(), condition["power"].as_str()) {
        (Some(level @ ("heavy" | "trapping" | "sleeping")), _) => format!("it is hot ({level})"),
        (_, Some("battery")) => "it is on battery".to_owned(),
        _ => "of its condition".to_owned(),
    };
    notes.push(format!("{name} begins {begins}, because {why}"));
    notes
}

/// A device, how many jobs have it of how many may, how busy it is and how much of its memory is used.
fn device(device: &Value, users: u64, usage: &Value) -> String {
    let simulated = if device["simulated"] == true { " (simulated)" } else { "" };
    let name = format!("{} {}", word(&device["family"]), word(&device["variant"]));
    let slots = device["slots"].as_u64().unwrap_or(1).max(1);
    let used = if users > 0 { format!(" {users}/{slots}") } else { String::new() };
    let busy = usage["busy_percent"].as_u64().map(|busy| format!(" {busy} %"));
    let memory =
        usage["memory_used_mib"].as_u64().map(|used| match device["memory_mib"].as_u64() {
            Some(all) if all > 0 => format!(" {used}/{all} MiB"),
            _ => format!(" {used} MiB"),
        });
    let (busy, memory) = (busy.unwrap_or_default(), memory.unwrap_or_default());
    format!("{}{simulated}{used}{busy}{memory}", name.trim().trim_end_matches(" -"))
}

fn cores(millicores: u64) -> String {
    let whole = millicores / 1000;
    match millicores % 1000 / 100 {
        0 => whole.to_string(),
        tenths => format!("{whole}.{tenths}"),
    }
}

/// A value as a word: text without quotes, `-` for nothing.
fn word(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_worker_is_one_line() {
        let status = json!({
            "version": "0.1.0",
            "workers": [{
                "hostname": "attic", "pool": "default", "platform": "x86_64-linux",
                "connected": true, "suspect": false, "leaving": false,
                "capacity": { "cpu_millicores": 2000, "memory_mib": 4000 },
                "free": { "cpu_millicores": 1500, "memory_mib": 3000 },
                "devices": [], "running": 1, "runtimes": ["runsc"], "untrusted": true,
            }],
            "containers": 2,
            "tasks": { "COMPLETE": 3 },
        });
        let text = text(&status);
        let line = text.lines().find(|line| line.starts_with("attic")).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(
            words,
            [
                "attic",
                "default",
                "(untrusted)",
                "ready",
                "x86_64-linux",
                "runsc",
                "1.5/2",
                "3000/4000",
                "MiB",
                "-",
                "1"
            ]
        );
        assert!(text.ends_with("\ntasks: 3 complete\ncontainers: 2\n"), "{text}");
    }

    #[test]
    fn a_worker_that_does_not_isolate_jobs_is_shown_loudly() {
        let status =
            |isolation| json!({ "workers": [{ "hostname": "attic", "isolation": isolation }] });
        let warning = "warning: jobs on attic are NOT ISOLATED from the machine\n";
        assert!(text(&status("off")).contains(warning));
        assert!(!text(&status("landlock 7, seccomp")).contains("warning"));
    }

    #[test]
    fn a_worker_that_gets_nothing_new_is_said_to_be_so() {
        let with = |extra: Value| {
            let mut worker = json!({ "connected": true, "containers": 1 });
            worker.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            state(&worker)
        };
        assert_eq!(with(json!({})), "ready");
        assert_eq!(with(json!({ "cordoned": true })), "cordoned");
        assert_eq!(with(json!({ "cordoned": true, "draining": true })), "draining");
        let empty = json!({ "cordoned": true, "draining": true, "containers": 0 });
        assert_eq!(with(empty), "drained");
    }

    #[test]
    fn a_gateway_without_workers_says_so() {
        assert!(text(&json!({ "version": "0.1.0" })).contains("no worker is connected"));
    }

    #[test]
    fn a_simulated_device_is_called_that() {
        let simulated = json!({ "family": "M3", "variant": "Max", "simulated": true });
        assert_eq!(device(&simulated, 0, &Value::Null), "M3 Max (simulated)");
        let shared = json!({ "family": "M4", "variant": "", "slots": 2 });
        assert_eq!(device(&shared, 1, &Value::Null), "M4 1/2");
    }

    #[test]
    fn how_busy_a_device_is_stands_beside_it() {
        let worker = json!({
            "devices": [{ "family": "M4", "memory_mib": 12000 }, { "family": "GB10" }],
            "device_users": [1, 0],
            "condition": { "devices": [
                { "busy_percent": 42, "memory_used_mib": 3072 },
                { "busy_percent": null, "memory_used_mib": 7 },
            ] },
        });
        assert_eq!(row(&worker)[7], "M4 1/1 42 % 3072/12000 MiB, GB10 7 MiB");
    }

    #[test]
    fn a_machine_that_is_spared_or_special_is_noted() {
        let worker = json!({
            "hostname": "mini", "connected": true, "gpus_rest": true,
            "machine": { "simulated": true, "notes": ["its GPU is paravirtual"] },
            "condition": { "thermal": "heavy", "power": "ac" },
        });
        let text = text(&json!({ "workers": [worker] }));
        for note in [
            "note: what mini says of its machine is simulated\n",
            "note: mini: its GPU is paravirtual\n",
            "note: mini begins no gpu jobs, because it is hot (heavy)\n",
        ] {
            assert!(text.contains(note), "{text}");
        }
        assert!(notes(&json!({ "hostname": "attic", "gpus_rest": false })).is_empty());
    }
}
