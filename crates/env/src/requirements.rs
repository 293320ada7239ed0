//! What the lines of an image's requirements are, and which of them cannot be had.

use metal9_types::Refusal;

use crate::EnvError;

/// Requirement lines sorted by what they are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Requirements {
    /// Index options, as `--index-url https://…`, in the client's order.
    pub(crate) index_options: Vec<String>,
    /// Packages.
    pub(crate) packages: Vec<String>,
}

impl Requirements {
    /// Sorts the lines.
    ///
    /// # Errors
    /// [`EnvError::Refused`] with every line that would read the worker's files or settings.
    pub(crate) fn read(lines: &[String]) -> Result<Self, EnvError> {
        let mut all = Self::default();
        let mut refusals = Vec::new();
        // A line may hide further ones: what is looked at must be what uv will read.
        let mut lines = lines.iter().flat_map(|text| text.split(['\n', '\r'])).map(str::trim);
        while let Some(line) = lines.next() {
            match classify(line) {
                Line::Nothing => {}
                Line::Package => all.packages.push(line.to_owned()),
                Line::Index(name, value) => {
                    let value = value.or_else(|| lines.next()).unwrap_or_default();
                    match index_option(name, value) {
                        Ok(option) => all.index_options.push(option),
                        Err(refusal) => refusals.push(refusal),
                    }
                }
                Line::Refused(refusal) => refusals.push(refusal),
            }
        }
        if refusals.is_empty() { Ok(all) } else { Err(EnvError::Refused(refusals)) }
    }

    /// The text uv reads.
    pub(crate) fn text(&self) -> String {
        let lines = self.index_options.iter().chain(&self.packages);
        lines.map(|line| format!("{line}\n")).collect()
    }
}

/// What one line is.
#[derive(PartialEq, Debug)]
enum Line<'a> {
    /// Empty or a comment.
    Nothing,
    /// A package, by name or URL.
    Package,
    /// An index option and its value if it is on the same line.
    Index(&'static str, Option<&'a str>),
    /// Something that cannot be had.
    Refused(Refusal),
}

/// Spellings of the options that name where packages come from.
const INDEX_OPTIONS: &[(&str, &str)] = &[
    ("--index-url", "--index-url"),
    ("-i", "--index-url"),
    ("--extra-index-url", "--extra-index-url"),
    ("--find-links", "--find-links"),
    ("-f", "--find-links"),
];

fn classify(line: &str) -> Line<'_> {
    if line.is_empty() || line.starts_with('#') {
        return Line::Nothing;
    }
    if line.contains("${") {
        return Line::Refused(refusal(
            line,
            "variables of the worker's environment are not put into requirements",
            "write the value itself, or set an index with `UV_INDEX_URL` on the worker",
        ));
    }
    if line.ends_with('\\') {
        return Line::Refused(refusal(line, "it goes on on another line", "put it on one line"));
    }
    if line.starts_with('-') {
        return classify_option(line);
    }
    if is_local(line) {
        return Line::Refused(refusal(
            line,
            "it is a path, and the worker does not have the caller's files when it makes the \
             environment",
            "put the package's source beside the function's code, which is always sent, or \
             publish it to an index",
        ));
    }
    Line::Package
}

fn classify_option(line: &str) -> Line<'_> {
    let (option, value) = match line.find(|c: char| c == '=' || c.is_whitespace()) {
        Some(at) => (&line[..at], Some(line[at + 1..].trim()).filter(|value| !value.is_empty())),
        None => (line, None),
    };
    if let Some((_, name)) = INDEX_OPTIONS.iter().find(|(spelling, _)| *spelling == option) {
        return Line::Index(name, value);
    }
    let (reason, hint) = match option {
        "-r" | "--requirement" | "-c" | "--constraint" => (
            "it names a file, and the worker does not have the caller's files when it makes the \
             environment",
            "give the file's path itself, as `python_packages=\"requirements.txt\"`: the client \
             then sends its lines",
        ),
        "-e" | "--editable" => (
            "an environment is shared and read-only, so nothing in it can be editable",
            "put the package's source beside the function's code, which is always sent",
        ),
        "--pre" => (
            "the option would change every package",
            "name the pre-release itself, as `package==2.0.0rc1` or `package>=2.0.0a0`",
        ),
        _ => (
            "options of pip are not used, but for `--index-url`, `--extra-index-url` and \
             `--find-links`",
            "leave the option out",
        ),
    };
    Line::Refused(refusal(line, reason, hint))
}

/// An index option as a line; only addresses are taken, since the worker's files are not the
/// caller's to read.
fn index_option(name: &str, value: &str) -> Result<String, Refusal> {
    let one_word = !value.contains(char::is_whitespace) && !value.contains("${");
    if one_word && (value.starts_with("https://") || value.starts_with("http://")) {
        return Ok(format!("{name} {value}"));
    }
    Err(refusal(
        &format!("{name} {value}"),
        "it does not name an address that starts with `https://` or `http://`",
        "give the address of a package index",
    ))
}

/// `true` for a path on the worker's disk in any of its spellings.
fn is_local(line: &str) -> bool {
    // The address of `name @ address`, or the whole line if there is no name.
    let place = line.split_once('@').map_or(line, |(name, place)| {
        let named =
            name.trim_end().chars().all(|c| c.is_ascii_alphanumeric() || "._-[], ".contains(c));
        if named && !name.is_empty() { place.trim_start() } else { line }
    });
    let lower = place.to_ascii_lowercase();
    let remote = ["https://", "http://", "git+https://", "git+http://", "git+ssh://"]
        .iter()
        .any(|scheme| lower.starts_with(scheme));
    if remote {
        return false;
    }
    // What stands before a version, a marker or an extra.
    let name = lower.split([';', '=', '<', '>', '!', '~', '[', ' ']).next().unwrap_or_default();
    let archive = [".whl", ".tar.gz", ".zip", ".tar.bz2", ".txt", ".toml"];
    lower.starts_with('~')
        || name.starts_with('.')
        || name.contains(['/', '\\', ':'])
        || archive.iter().any(|ending| name.ends_with(ending))
}

fn refusal(line: &str, reason: &str, hint: &str) -> Refusal {
    Refusal { feature: format!("requirement `{line}`"), reason: reason.into(), hint: hint.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Result<Requirements, EnvError> {
        Requirements::read(&lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn packages_by_name_and_by_address_are_taken() {
        for line in [
            "six",
            "numpy==2.1.0",
            "torch >= 2, <3",
            "requests[socks]~=2.31",
            "uvicorn[standard]",
            "foo.bar",
            "tomli; python_version < '3.11'",
            "rich @ https://example.org/rich-13.0-py3-none-any.whl",
            "pkg[extra] @ git+https://github.com/org/pkg@v1.0",
            "pkg@git+https://github.com/org/pkg",
            "git+https://github.com/org/pkg@main#egg=pkg",
            "git+ssh://git@github.com/org/pkg",
            "https://example.org/rich-13.0.tar.gz",
            "six==1.16.0 --hash=sha256:8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254",
        ] {
            let read = read(&[line]).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(read.packages, [line]);
        }
    }

    #[test]
    fn whatever_reads_the_workers_files_or_settings_is_refused_with_a_hint() {
        for line in [
            "-r requirements.txt",
            "--requirement=requirements.txt",
            "-c constraints.txt",
            "-e .",
            "--editable=../lib",
            "--pre",
            "--trusted-host example.org",
            "--no-index",
            ".",
            "./lib",
            "../lib[extra]",
            "/srv/lib",
            "~/lib",
            "lib/sub",
            "C:\\lib",
            "rich-13.0-py3-none-any.whl",
            "requirements.txt",
            "file:///srv/lib",
            "rich @ file:///srv/rich.whl",
            "rich@/srv/rich.whl",
            "rich @ ./rich.whl",
            "git+file:///srv/repo",
            "pkg @ git+file:///srv/repo",
            "https://example.org/${AWS_SECRET_ACCESS_KEY}/x.whl",
            "six\n-r /etc/passwd",
            "six \\",
            "--find-links /srv/wheels",
            "--index-url file:///srv/index",
            "--index-url",
            "-i https://a.example/${HOME}",
        ] {
            let Err(EnvError::Refused(refusals)) = read(&[line]) else {
                panic!("`{line}` was taken: {:?}", read(&[line]));
            };
            assert_eq!(refusals.len(), 1, "{line}");
            assert!(!refusals[0].hint.is_empty(), "{line}");
        }
    }

    #[test]
    fn every_refused_line_is_named() {
        let Err(EnvError::Refused(refusals)) = read(&["-e .", "six", "-r a.txt"]) else {
            panic!("taken");
        };
        assert_eq!(refusals.len(), 2);
        assert!(refusals[1].feature.contains("-r a.txt"));
    }

    #[test]
    fn index_options_are_taken_in_every_spelling() {
        let read = read(&[
            "--index-url https://a.example/simple",
            "--extra-index-url=https://b.example/simple",
            "-f",
            "https://c.example/wheels",
            "# a comment",
            "six",
        ])
        .unwrap();
        assert_eq!(
            read.text(),
            "--index-url https://a.example/simple\n\
             --extra-index-url https://b.example/simple\n\
             --find-links https://c.example/wheels\n\
             six\n"
        );
    }
}
