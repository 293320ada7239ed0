//! What ended an earlier run of this worker while jobs ran on it.
//!
//! While jobs run, which they are is noted on disk together with the boot of the machine. A note
//! that is still there at the next start was left by a run that did not end by itself.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Where macOS keeps the reports of kernel panics.
const PANICS: &str = "/Library/Logs/DiagnosticReports";

/// One boot of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Boot {
    /// The system's own name for it; empty if it has none.
    id: String,
    /// When it was, in Unix seconds; 0 if the system does not tell.
    at: u64,
}

impl Boot {
    /// The present one.
    pub(crate) fn now() -> Self {
        Self {
            id: metal9_device::boot_session().unwrap_or_default(),
            at: sysinfo::System::boot_time().unwrap_or(0),
        }
    }

    /// Whether this is a later boot than that of a note made at `noted`, in Unix seconds.
    fn is_after(&self, other: &Self, noted: u64) -> bool {
        if !self.id.is_empty() && !other.id.is_empty() {
            return self.id != other.id;
        }
        // The time of the boot moves when the clock is set, so the two are not compared.
        self.at > noted
    }
}

/// What is noted while jobs run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    boot: Boot,
    /// When this was noted, in Unix seconds.
    noted: u64,
    /// Which tasks run.
    pub(crate) tasks: Vec<String>,
}

impl Note {
    pub(crate) fn new(boot: Boot, tasks: Vec<String>) -> Self {
        Self { boot, noted: unix(SystemTime::now()), tasks }
    }

    /// Replaces the note, or removes it if nothing runs. On the disk when it returns.
    pub(crate) fn keep(&self, path: &Path) -> io::Result<()> {
        if self.tasks.is_empty() {
            return match fs::remove_file(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other,
            };
        }
        let fresh = path.with_extension("json.new");
        let mut file = File::create(&fresh)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    }
}

/// How an earlier run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interruption {
    /// The machine was started anew since.
    rebooted: bool,
    /// The report of a kernel panic, if there is one.
    panic: Option<PathBuf>,
    /// Who cannot read such reports, if that is so.
    unread_by: Option<String>,
    /// When it was last seen running, in Unix seconds.
    noted: u64,
    /// The tasks that ran.
    pub(crate) tasks: Vec<String>,
}

/// When to look again for the report of a panic, which macOS writes some time after it has started.
const LATER: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(5 * 60)];

impl Interruption {
    /// Looks at the note that an earlier run has left and removes it. Nothing if no jobs ran.
    pub(crate) fn take(path: &Path, boot: &Boot) -> Option<Self> {
        let text = fs::read(path).ok()?;
        let _ = fs::remove_file(path);
        let note: Note = serde_json::from_slice(&text).ok()?;
        let found = Self::of(note, boot, || reports(Path::new(PANICS)));
        Some(found)
    }

    fn of(note: Note, boot: &Boot, reports: impl FnOnce() -> io::Result<Reports>) -> Self {
        let rebooted = boot.is_after(&note.boot, note.noted);
        let Note { noted, tasks, .. } = note;
        let (mut panic, mut unread_by) = (None, None);
        match rebooted.then(reports) {
            Some(Ok(reports)) => panic = newest_since(noted, reports),
            Some(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
                unread_by = Some(this_account());
            }
            // There is no such directory where nothing is reported, as on Linux.
            Some(Err(_)) | None => {}
        }
        Self { rebooted, panic, unread_by, noted, tasks }
    }

    /// Whether a report may yet be written that says more.
    fn may_learn(&self) -> bool {
        self.rebooted && self.panic.is_none() && self.unread_by.is_none()
    }

    /// Looks later for a report of a panic, and writes to the log if there is one then.
    pub(crate) async fn look_again(self) {
        if !cfg!(target_os = "macos") || !self.may_learn() {
            return;
        }
        for pause in LATER {
            tokio::time::sleep(pause).await;
            let looked = tokio::task::spawn_blocking(|| reports(Path::new(PANICS))).await;
            let Ok(Ok(found)) = looked else { return };
            if let Some(panic) = newest_since(self.noted, found) {
                let found = Self { panic: Some(panic), ..self };
                tracing::warn!(tasks = ?found.tasks, "{found}");
                return;
            }
        }
    }
}

/// The name of who this process runs as.
fn this_account() -> String {
    let uid = nix::unistd::Uid::effective();
    let user = nix::unistd::User::from_uid(uid).ok().flatten();
    user.map_or_else(|| format!("user {uid}"), |user| user.name)
}

impl std::fmt::Display for Interruption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let jobs = match self.tasks.len() {
            1 => "1 job ran".to_owned(),
            number => format!("{number} jobs ran"),
        };
        match (&self.panic, self.rebooted) {
            (Some(file), _) => {
                let file = file.display();
                write!(f, "the machine's kernel panicked while {jobs} (see {file})")
            }
            (None, true) if let Some(account) = &self.unread_by => write!(
                f,
                "the machine rebooted while {jobs}; its kernel may have panicked, whose reports in \
                 {PANICS} cannot be read by `{account}`"
            ),
            (None, true) => write!(f, "the machine rebooted while {jobs}"),
            (None, false) => write!(f, "the worker was killed or crashed while {jobs}"),
        }
    }
}

/// Reports of kernel panics, with when they were written, in Unix seconds.
type Reports = Vec<(PathBuf, u64)>;

/// The newest report that was written at or after `since`.
fn newest_since(since: u64, reports: Reports) -> Option<PathBuf> {
    let late = reports.into_iter().filter(|(_, written)| *written >= since);
    late.max_by_key(|(_, written)| *written).map(|(path, _)| path)
}

/// Reports of kernel panics in a directory.
fn reports(directory: &Path) -> io::Result<Reports> {
    let panics = fs::read_dir(directory)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "panic"));
    let dated = panics.filter_map(|path| {
        let written = fs::metadata(&path).ok()?.modified().ok()?;
        Some((path, unix(written)))
    });
    Ok(dated.collect())
}

fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot(id: &str, at: u64) -> Boot {
        Boot { id: id.into(), at }
    }

    fn note(boot: Boot, noted: u64) -> Note {
        Note { boot, noted, tasks: vec!["a".into(), "b".into()] }
    }

    #[test]
    fn a_note_goes_when_nothing_runs_and_tells_of_a_run_that_did_not_end() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("running.json");
        let now = Boot::now();
        Note::new(now.clone(), vec!["a".into()]).keep(&path).unwrap();
        let found = Interruption::take(&path, &now).unwrap();
        assert_eq!(found.to_string(), "the worker was killed or crashed while 1 job ran");
        assert_eq!(Interruption::take(&path, &now), None, "it is told once");
        Note::new(now.clone(), vec!["a".into()]).keep(&path).unwrap();
        Note::new(now.clone(), Vec::new()).keep(&path).unwrap();
        Note::new(now.clone(), Vec::new()).keep(&path).unwrap();
        assert_eq!(Interruption::take(&path, &now), None);
        fs::write(&path, "{").unwrap();
        assert_eq!(Interruption::take(&path, &now), None, "a torn note says nothing");
    }

    #[test]
    fn a_reboot_is_told_from_a_crash() {
        let of = |now: Boot| Interruption::of(note(boot("x", 50), 100), &now, || Ok(Vec::new()));
        assert!(!of(boot("x", 60)).rebooted, "the clock was set");
        assert!(of(boot("y", 60)).rebooted);
        let text = of(boot("y", 60)).to_string();
        assert_eq!(text, "the machine rebooted while 2 jobs ran");
        let of = |now: Boot| Interruption::of(note(boot("", 50), 100), &now, || Ok(Vec::new()));
        assert!(!of(boot("", 55)).rebooted && of(boot("", 101)).rebooted);
    }

    #[test]
    fn the_newest_report_of_a_panic_since_then_is_named() {
        let reports = || {
            let all = [("/r/old.panic", 90), ("/r/first.panic", 110), ("/r/last.panic", 120)];
            Ok(all.map(|(path, written)| (PathBuf::from(path), written)).to_vec())
        };
        let found = Interruption::of(note(boot("x", 50), 100), &boot("y", 60), reports);
        let text = "the machine's kernel panicked while 2 jobs ran (see /r/last.panic)";
        assert_eq!(found.to_string(), text);
        let found = Interruption::of(note(boot("x", 50), 100), &boot("x", 50), reports);
        assert_eq!(found.panic, None, "the machine is the same: it was not the kernel");
        let found = Interruption::of(note(boot("x", 50), 500), &boot("y", 600), reports);
        assert_eq!(found.panic, None, "older reports are of other days");
    }

    #[test]
    fn reports_are_known_by_their_ending() {
        let root = tempfile::tempdir().unwrap();
        for name in ["a.panic", "b.ips"] {
            fs::write(root.path().join(name), "").unwrap();
        }
        let found = reports(root.path()).unwrap();
        assert!(found.len() == 1 && found[0].0.ends_with("a.panic") && found[0].1 > 0);
        let missing = reports(&root.path().join("missing")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn reports_that_cannot_be_read_leave_it_open_whether_there_was_a_panic() {
        let fails = |kind: io::ErrorKind| {
            Interruption::of(note(boot("x", 50), 100), &boot("y", 60), move || Err(kind.into()))
        };
        let unread = fails(io::ErrorKind::PermissionDenied);
        assert_eq!(
            unread.to_string(),
            format!(
                "the machine rebooted while 2 jobs ran; its kernel may have panicked, whose reports \
                 in /Library/Logs/DiagnosticReports cannot be read by `{}`",
                this_account()
            )
        );
        assert!(!unread.may_learn(), "nor later");
        let none = fails(io::ErrorKind::NotFound);
        assert_eq!(none.to_string(), "the machine rebooted while 2 jobs ran");
        assert!(none.may_learn(), "a report is written some time after the start");
    }
}
