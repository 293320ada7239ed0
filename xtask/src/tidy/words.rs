//! Words that must not be in the repository.

use super::files::{Repository, TextFile};
use super::source;

/// Leftovers and switched-off tests in Rust. Split, so that this file does not find itself.
const IN_RUST: [&str; 3] =
    [concat!("to", "do!("), concat!("unimple", "mented!("), concat!("#[ig", "nore")];

/// Switched-off tests in Python.
const IN_PYTHON: [&str; 2] = [concat!("pytest.mark.", "skip"), concat!("x", "fail")];

/// Hosts of package registries: which one is used is the business of the machine.
const HOSTS: [&str; 6] = [
    concat!("crates", ".io"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("npmjs", ".org"),
    concat!("proxy.golang", ".org"),
    concat!("ghcr", ".io"),
];

/// Cargo writes the host of its default registry into files of this name.
const MAY_NAME_HOSTS: &str = "Cargo.lock";

/// Where the index is named that the program asks for uv if the user names no other.
const NAMES_INDEX: &str = "crates/env/src/uv/index.rs";

/// Where waiting is done for all tests, and may therefore sleep.
const WAITING: &str = "tests/e2e/harness/waiting.py";

/// Checks every file for words that must not be there.
pub(super) fn check(repository: &Repository) -> Vec<String> {
    repository.files.iter().flat_map(complaints).collect()
}

fn complaints(file: &TextFile) -> Vec<String> {
    let mut found = Vec::new();
    if file.is("rs") {
        let code = source::blank_rust(&file.text);
        find(&code, &IN_RUST, "left in the code", file, &mut found);
    }
    if file.is("py") {
        find(&file.text, &IN_PYTHON, "a test is run or deleted", file, &mut found);
    }
    if file.is("py") && file.is_below("tests/e2e") && file.path != WAITING {
        // Users' programs stand in triple quotes; they may sleep.
        let code = source::blank_python_texts(&file.text);
        find(&code, &[concat!("time.", "sleep")], "wait for a state instead", file, &mut found);
    }
    if file.path.rsplit('/').next() != Some(MAY_NAME_HOSTS) && file.path != NAMES_INDEX {
        find(&file.text, &HOSTS, "no registry is named here", file, &mut found);
    }
    found
}

fn find(text: &str, words: &[&str], why: &str, file: &TextFile, found: &mut Vec<String>) {
    for (number, line) in text.lines().enumerate() {
        for word in words.iter().filter(|word| line.contains(**word)) {
            found.push(format!("{}:{}: `{word}`: {why}", file.path, number + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_file(path: &str, text: &str) -> Vec<String> {
        complaints(&TextFile { path: path.into(), text: text.into() })
    }

    #[test]
    fn leftovers_are_found_with_their_line() {
        let found = in_file("a.rs", &format!("fn a() {{\n    {})\n}}", IN_RUST[0]));
        assert!(found.len() == 1 && found[0].starts_with("a.rs:2:"), "{found:?}");
    }

    #[test]
    fn a_comment_may_speak_of_them() {
        assert!(in_file("a.rs", &format!("// no {} here\n", IN_RUST[1])).is_empty());
    }

    #[test]
    fn tests_do_not_sleep_but_the_programs_they_run_may() {
        let sleep = concat!("time.", "sleep(1)");
        assert_eq!(in_file("tests/e2e/test_x.py", sleep).len(), 1);
        assert!(in_file("tests/e2e/test_x.py", &format!("'''\n{sleep}\n'''")).is_empty());
        assert!(in_file("examples/x.py", sleep).is_empty());
    }

    #[test]
    fn hosts_of_registries_are_found_anywhere() {
        assert_eq!(in_file("docs/x.md", &format!("see {}", HOSTS[1])).len(), 1);
        assert!(in_file("Cargo.lock", HOSTS[0]).is_empty());
        assert!(in_file("fuzz/Cargo.lock", HOSTS[0]).is_empty());
    }
}
