//! The property list that launchd reads.

use std::path::PathBuf;

use plist::{Dictionary, Value};

use crate::place::Scope;
use crate::service::Service;

/// Files a worker may have open: what macOS allows a process whatever else it says.
const OPEN_FILES: u64 = 10_240;

/// Seconds between two starts: launchd's own default.
const THROTTLE: u64 = 10;

/// Seconds after which launchd kills a service whose plist does not say when: its own default.
const EXIT_TIME_OUT: u64 = 20;

/// Only the account itself may read what the worker writes.
const UMASK: u64 = 0o077;

/// The plist of a LaunchAgent or LaunchDaemon.
pub(crate) fn plist(service: &Service) -> String {
    let place = &service.place;
    let log = service.log().to_string_lossy().into_owned();
    let mut keys = Dictionary::new();
    let mut set = |name: &str, value: Value| keys.insert(name.to_owned(), value);
    set("Label", place.name().into());
    let words = service.command().into_iter().map(Value::String);
    set("ProgramArguments", Value::Array(words.collect()));
    set("WorkingDirectory", service.state.to_string_lossy().into_owned().into());
    set("EnvironmentVariables", Value::Dictionary(environment(service)));
    set("StandardOutPath", log.clone().into());
    set("StandardErrorPath", log.into());
    if place.scope == Scope::System {
        set("UserName", place.account.name.clone().into());
        set("InitGroups", true.into());
    }
    // Anything else throttles the processor and the disk of the worker and of every job.
    set("ProcessType", "Interactive".into());
    set("RunAtLoad", true.into());
    // A worker that was stopped stays so until the next boot or login.
    let failed = [("SuccessfulExit".to_owned(), Value::Boolean(false))];
    set("KeepAlive", Value::Dictionary(failed.into_iter().collect()));
    set("ThrottleInterval", THROTTLE.into());
    set("ExitTimeOut", service.kill_after().into());
    let files = [("NumberOfFiles".to_owned(), Value::from(OPEN_FILES))];
    set("SoftResourceLimits", Value::Dictionary(files.into_iter().collect()));
    set("Umask", UMASK.into());
    text(&Value::Dictionary(keys))
}

/// launchd gives its services next to nothing.
fn environment(service: &Service) -> Dictionary {
    let account = &service.place.account;
    let mut variables = Dictionary::new();
    let mut set = |name: &str, value: String| variables.insert(name.to_owned(), value.into());
    set("HOME", account.home.to_string_lossy().into_owned());
    set("PATH", service.search_path());
    set("USER", account.name.clone());
    if service.place.scope == Scope::System {
        // An agent is given a directory of its user's.
        set("TMPDIR", "/private/tmp".to_owned());
    }
    for (name, value) in &service.variables {
        set(name, value.clone());
    }
    variables
}

/// The file that a plist sends the log to.
#[must_use]
pub fn log_of(plist: &str) -> Option<PathBuf> {
    let value = Value::from_reader_xml(plist.as_bytes()).ok()?;
    let log = value.as_dictionary()?.get("StandardErrorPath")?.as_string()?;
    Some(PathBuf::from(log))
}

/// After how many seconds launchd kills a service with this plist that was told to end.
pub(crate) fn kill_after(plist: Option<&str>) -> u64 {
    let seconds = |plist: &str| {
        let value = Value::from_reader_xml(plist.as_bytes()).ok()?;
        value.as_dictionary()?.get("ExitTimeOut")?.as_unsigned_integer()
    };
    plist.and_then(seconds).unwrap_or(EXIT_TIME_OUT)
}

fn text(value: &Value) -> String {
    let mut bytes = Vec::new();
    // Writing to memory does not fail, and every value here is one that XML can hold.
    let written = value.to_writer_xml(&mut bytes);
    debug_assert!(written.is_ok(), "a property list of texts, numbers and truth values");
    String::from_utf8(bytes).unwrap_or_default() + "\n"
}
