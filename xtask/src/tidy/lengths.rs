//! How long files and functions may be.

use super::files::Repository;
use super::source;

/// A longer file is listed.
pub(super) const SOFT_FILE_LINES: usize = 400;

/// A longer file fails.
const HARD_FILE_LINES: usize = 800;

/// A longer function fails.
const HARD_FUNCTION_LINES: usize = 120;

/// What the measuring found.
pub(super) struct Lengths {
    pub(super) complaints: Vec<String>,
    /// Files over the soft limit, with their lines.
    pub(super) long: Vec<(String, usize)>,
}

/// Measures every program text.
pub(super) fn check(repository: &Repository) -> Lengths {
    let mut lengths = Lengths { complaints: Vec::new(), long: Vec::new() };
    for file in repository.files.iter().filter(|file| file.is("rs") || file.is("py")) {
        let lines = file.text.lines().count();
        if lines > HARD_FILE_LINES {
            let complaint = format!("{}: {lines} lines, more than {HARD_FILE_LINES}", file.path);
            lengths.complaints.push(complaint);
        } else if lines > SOFT_FILE_LINES {
            lengths.long.push((file.path.clone(), lines));
        }
        if file.is("rs") {
            let functions = functions(&source::blank_rust(&file.text));
            let long = functions.iter().filter(|function| function.lines > HARD_FUNCTION_LINES);
            lengths.complaints.extend(long.map(|Function { name, line, lines }| {
                let path = &file.path;
                format!(
                    "{path}:{line}: `{name}` has {lines} lines, more than {HARD_FUNCTION_LINES}"
                )
            }));
        }
    }
    lengths
}

#[derive(Debug, PartialEq, Eq)]
struct Function {
    name: String,
    line: usize,
    lines: usize,
}

/// The functions with a body in blanked Rust code.
fn functions(code: &str) -> Vec<Function> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        if code[..at].ends_with(|last: char| last.is_alphanumeric() || last == '_') {
            continue;
        }
        let rest = &code[at + 3..];
        let name: String =
            rest.chars().take_while(|next| next.is_alphanumeric() || *next == '_').collect();
        if name.is_empty() {
            continue;
        }
        if let Some(body) = body(rest) {
            let line = code[..at].matches('\n').count() + 1;
            found.push(Function { name, line, lines: rest[..body].matches('\n').count() + 1 });
        }
    }
    found
}

/// Where the body ends that follows a signature; nothing for a declaration without one.
fn body(signature: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut brackets = 0_usize;
    for (at, character) in signature.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 1 => return Some(at),
            '}' => depth = depth.checked_sub(1)?,
            '(' | '[' if depth == 0 => brackets += 1,
            ')' | ']' if depth == 0 => brackets = brackets.checked_sub(1)?,
            ';' if depth == 0 && brackets == 0 => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measure(text: &str) -> Vec<(String, usize)> {
        let functions = functions(&source::blank_rust(text));
        functions.into_iter().map(|function| (function.name, function.lines)).collect()
    }

    #[test]
    fn a_function_is_measured_from_its_name_to_its_last_brace() {
        let text = "fn a() {\n    if x {\n    }\n}\n\nfn b(x: [u8; 2]) {}\n";
        assert_eq!(measure(text), [("a".to_owned(), 4), ("b".to_owned(), 1)]);
    }

    #[test]
    fn braces_in_texts_do_not_count() {
        assert_eq!(measure("fn a() {\n    b(\"}\", '{');\n}\n"), [("a".to_owned(), 3)]);
    }

    #[test]
    fn declarations_and_function_types_have_no_length() {
        assert!(measure("trait A { fn a(&self); }\ntype F = fn (u8) -> u8;").is_empty());
    }
}
