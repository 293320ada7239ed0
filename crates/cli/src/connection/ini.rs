//! The SDK's configuration file: sections of `key = value` lines.

use std::fmt::Write as _;

/// The context that the SDK uses unless told otherwise.
pub(crate) const DEFAULT_CONTEXT: &str = "default";

/// A configuration file. What is not understood is left out, as the SDK does.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Ini {
    /// Section, key, value; a later one of the same name wins.
    entries: Vec<[String; 3]>,
}

impl Ini {
    /// Reads a file's text.
    pub(crate) fn parse(text: &str) -> Self {
        let mut ini = Self::default();
        let mut section = "";
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = name.trim();
            } else if let Some((key, value)) = line.split_once(['=', ':']) {
                ini.set(section, &key.trim().to_lowercase(), value.trim());
            }
        }
        ini
    }

    /// Adds a value.
    pub(crate) fn set(&mut self, section: &str, key: &str, value: &str) {
        self.entries.push([section, key, value].map(str::to_owned));
    }

    /// A value that is not empty.
    pub(crate) fn get(&self, section: &str, key: &str) -> Option<&str> {
        let mut found = self.entries.iter().rev().filter(|[s, k, _]| s == section && k == key);
        found.next().map(|[_, _, value]| value.as_str()).filter(|value| !value.is_empty())
    }

    /// The file's text.
    pub(crate) fn render(&self) -> String {
        let mut text = String::new();
        let mut last = None;
        for [section, key, value] in &self.entries {
            if last != Some(section) {
                let gap = if last.is_some() { "\n" } else { "" };
                let _ = writeln!(text, "{gap}[{section}]");
                last = Some(section);
            }
            let _ = writeln!(text, "{key} = {value}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_keys_and_comments_are_told_apart() {
        let ini = Ini::parse(
            "; made by hand\n[default]\nToken = a=b\n# not this\ngateway_port: 7\nempty =\n\n[other]\ntoken=c\n",
        );
        assert_eq!(ini.get("default", "token"), Some("a=b"));
        assert_eq!(ini.get("default", "gateway_port"), Some("7"));
        assert_eq!(ini.get("default", "empty"), None);
        assert_eq!(ini.get("other", "token"), Some("c"));
        assert_eq!(ini.get("absent", "token"), None);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut ini = Ini::default();
        ini.set("default", "token", "t==");
        ini.set("default", "api_url", "http://127.0.0.1:1994");
        assert_eq!(ini.render(), "[default]\ntoken = t==\napi_url = http://127.0.0.1:1994\n");
        assert_eq!(Ini::parse(&ini.render()), ini);
    }
}
