//! Source text with the parts blanked that are not code. Line numbers stay as they are.

/// Rust code without the contents of comments, strings and character literals.
pub(super) fn blank_rust(text: &str) -> String {
    let mut scanner = Scanner { rest: text, out: String::with_capacity(text.len()) };
    while let Some(first) = scanner.rest.chars().next() {
        if scanner.rest.starts_with("//") {
            scanner.blank_until("\n", false);
        } else if scanner.rest.starts_with("/*") {
            scanner.blank_block_comment();
        } else if let Some(hashes) = scanner.raw_string_hashes() {
            scanner.blank_raw_string(hashes);
        } else if first == '"' {
            scanner.blank_string();
        } else if let Some(length) = char_literal(scanner.rest) {
            scanner.blank(length);
        } else {
            scanner.keep(first);
        }
    }
    scanner.out
}

/// Python code without the contents of triple-quoted texts.
pub(super) fn blank_python_texts(text: &str) -> String {
    let mut scanner = Scanner { rest: text, out: String::with_capacity(text.len()) };
    while let Some(first) = scanner.rest.chars().next() {
        match ["\"\"\"", "'''"].into_iter().find(|quotes| scanner.rest.starts_with(quotes)) {
            Some(quotes) => {
                scanner.blank(3);
                scanner.blank_until(quotes, true);
            }
            None => scanner.keep(first),
        }
    }
    scanner.out
}

struct Scanner<'a> {
    rest: &'a str,
    out: String,
}

impl Scanner<'_> {
    fn keep(&mut self, first: char) {
        self.out.push(first);
        self.rest = &self.rest[first.len_utf8()..];
    }

    /// Replaces the next `bytes` by nothing but their line ends.
    fn blank(&mut self, bytes: usize) {
        let (gone, rest) = self.rest.split_at(bytes.min(self.rest.len()));
        self.out.extend(gone.chars().filter(|character| *character == '\n'));
        self.rest = rest;
    }

    fn blank_until(&mut self, end: &str, inclusive: bool) {
        let length = match self.rest.find(end) {
            Some(at) if inclusive => at + end.len(),
            Some(at) => at,
            None => self.rest.len(),
        };
        self.blank(length);
    }

    fn blank_block_comment(&mut self) {
        let mut depth = 0_usize;
        let mut at = 0;
        while at < self.rest.len() {
            let here = &self.rest[at..];
            if here.starts_with("/*") {
                depth += 1;
                at += 2;
            } else if here.starts_with("*/") {
                depth -= 1;
                at += 2;
            } else {
                at += here.chars().next().map_or(1, char::len_utf8);
            }
            if depth == 0 {
                break;
            }
        }
        self.blank(at);
    }

    fn blank_string(&mut self) {
        let mut escaped = false;
        let end = self.rest.char_indices().skip(1).find(|(_, character)| {
            let ends = *character == '"' && !escaped;
            escaped = *character == '\\' && !escaped;
            ends
        });
        self.blank(end.map_or(self.rest.len(), |(at, _)| at + 1));
    }

    /// How many `#` the raw string has that begins here, if one does.
    fn raw_string_hashes(&self) -> Option<usize> {
        let in_a_word = |last: char| last.is_alphanumeric() || last == '_';
        if self.out.ends_with(in_a_word) {
            return None;
        }
        let start = ["br", "cr", "r"].into_iter().find_map(|it| self.rest.strip_prefix(it))?;
        let quote = start.trim_start_matches('#');
        quote.starts_with('"').then(|| start.len() - quote.len())
    }

    fn blank_raw_string(&mut self, hashes: usize) {
        let opening = self.rest.find('"').map_or(self.rest.len(), |at| at + 1);
        self.blank(opening);
        self.blank_until(&format!("\"{}", "#".repeat(hashes)), true);
    }
}

/// The length of the character literal that begins here; a lifetime is none.
fn char_literal(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('\'')?;
    if let Some(escape) = inner.strip_prefix('\\') {
        // The escaped character may itself be a quote.
        let skip = escape.chars().next()?.len_utf8();
        return Some(2 + skip + escape[skip..].find('\'')? + 1);
    }
    let length = inner.chars().next()?.len_utf8();
    inner[length..].starts_with('\'').then_some(length + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_strings_and_characters_are_blanked() {
        let text = "a /* { /* } */ */ b \"{\\\"}\" c '{' d '\\'' e // }\nf";
        assert_eq!(blank_rust(text), "a  b  c  d  e \nf");
    }

    #[test]
    fn raw_strings_end_at_their_own_mark() {
        assert_eq!(blank_rust("a r#\"x\"{\"# b br\"{\" c"), "a  b  c");
        assert_eq!(blank_rust("for\"x\""), "for");
    }

    #[test]
    fn lifetimes_stay() {
        assert_eq!(blank_rust("fn a<'a>(x: &'a str) {}"), "fn a<'a>(x: &'a str) {}");
    }

    #[test]
    fn line_numbers_stay() {
        assert_eq!(blank_rust("\"a\nb\"\n/*\n*/x").matches('\n').count(), 3);
        assert_eq!(blank_python_texts("x = '''\na\n'''\ny"), "x = \n\n\ny");
    }
}
