//! Data on stdout: a table for people or JSON for programs.

use std::io::{self, Write as _};

use anyhow::anyhow;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde::Serialize;

use crate::failure::Failure;

/// How data is printed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    /// JSON for programs, or text for people.
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// `true` for JSON.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Prints `value` as JSON, or else `text`.
    ///
    /// # Errors
    ///
    /// If stdout cannot be written to; one that was closed early is no error.
    pub(crate) fn show(
        self,
        value: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        if self.json {
            let json = serde_json::to_string_pretty(value).map_err(Failure::ours)?;
            return print(format!("{json}\n").as_bytes());
        }
        print(text().as_bytes())
    }
}

/// Prints bytes as they are and at once.
///
/// # Errors
///
/// If stdout cannot be written to; one that was closed early is no error.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
    match written {
        // The reader has seen enough, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => {
            written.map_err(|error| Failure::ours(anyhow!(error).context("cannot write to stdout")))
        }
    }
}

/// Columns with a heading each, lined up.
pub(crate) fn table<const N: usize>(
    headings: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(headings.map(str::to_uppercase));
    for row in rows {
        table.add_row(row);
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim().to_owned()).collect();
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_lined_up_without_borders() {
        let rows = [["a".to_owned(), "1".to_owned()], ["longer".to_owned(), "2".to_owned()]];
        let expected = ["NAME    N", "a       1", "longer  2", ""].join("\n");
        assert_eq!(table(["name", "n"], rows), expected);
    }
}
