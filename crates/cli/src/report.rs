//! What was looked at and how it is, for `doctor` and `selftest`.

use serde::Serialize;

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// As it should be.
    Ok,
    /// Not looked at, because it cannot be here.
    Skipped,
    /// It works, but not as well as it could.
    Warn,
    /// It does not work.
    Fail,
}

impl Status {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Check {
    /// What.
    pub(crate) name: &'static str,
    /// How it is.
    pub(crate) status: Status,
    /// What was found.
    pub(crate) found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fix: Option<String>,
    /// How long it took, in seconds, where that says something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seconds: Option<f64>,
}

impl Check {
    fn new(name: &'static str, status: Status, found: impl Into<String>) -> Self {
        Self { name, status, found: found.into(), fix: None, seconds: None }
    }

    /// As it should be.
    pub(crate) fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(name, Status::Ok, found)
    }

    /// Not looked at, and why.
    pub(crate) fn skipped(name: &'static str, why: impl Into<String>) -> Self {
        Self::new(name, Status::Skipped, why)
    }

    /// Not as well as it could be.
    pub(crate) fn warn(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(name, Status::Warn, found)
    }

    /// It does not work.
    pub(crate) fn fail(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(name, Status::Fail, found)
    }

    /// The same with what to do about it.
    pub(crate) fn fix(self, fix: impl Into<String>) -> Self {
        Self { fix: Some(fix.into()), ..self }
    }
}

/// `true` unless something does not work.
pub(crate) fn all_work(checks: &[Check]) -> bool {
    checks.iter().all(|check| check.status != Status::Fail)
}

/// One line a check, and one for what to do.
pub(crate) fn lines(checks: &[Check]) -> String {
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    checks.iter().map(|check| line(check, width)).collect()
}

/// A check as a line, its name in a column of `width`.
pub(crate) fn line(check: &Check, width: usize) -> String {
    let took = check.seconds.map(|seconds| format!(" ({seconds:.1} s)")).unwrap_or_default();
    let (word, name, found) = (check.status.word(), check.name, &check.found);
    let mut text = format!("{word:<7} {name:<width$}  {found}{took}\n");
    for (number, fix) in check.fix.iter().flat_map(|fix| fix.lines()).enumerate() {
        let lead = if number == 0 { "hint: " } else { "      " };
        text += &format!("{:<7} {:<width$}  {lead}{fix}\n", "", "");
    }
    text
}

/// How many checks of each kind there were.
pub(crate) fn summary(checks: &[Check]) -> String {
    let count = |status| checks.iter().filter(|check| check.status == status).count();
    let mut parts = vec![format!("{} ok", count(Status::Ok))];
    for (status, word) in
        [(Status::Warn, "warnings"), (Status::Skipped, "skipped"), (Status::Fail, "failed")]
    {
        match count(status) {
            0 => {}
            1 => parts.push(format!("1 {}", word.trim_end_matches('s'))),
            number => parts.push(format!("{number} {word}")),
        }
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_lined_up_with_their_hints_below() {
        let slow = Check { seconds: Some(1.25), ..Check::ok("environment", "built") };
        let checks = [slow, Check::fail("uv", "not found").fix("install it\nor name it")];
        assert_eq!(
            lines(&checks),
            "ok      environment  built (1.2 s)\n\
             FAIL    uv           not found\n\
             \x20                    hint: install it\n\
             \x20                          or name it\n"
        );
        assert_eq!(summary(&checks), "1 ok, 1 failed");
        assert!(!all_work(&checks) && all_work(&checks[..1]));
    }
}
