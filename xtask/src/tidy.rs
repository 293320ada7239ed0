//! `cargo xtask tidy`: the rules that the compiler does not know.

mod edges;
mod files;
mod lengths;
mod manifests;
mod pinned;
mod source;
mod words;

use anyhow::{Result, bail};

use files::Repository;

/// Checks every rule and reports all that is broken.
///
/// # Errors
///
/// If a rule is broken, or the repository cannot be read.
pub(crate) fn run() -> Result<()> {
    let repository = Repository::read(crate::root())?;
    let mut complaints = edges::check()?;
    complaints.extend(manifests::check(&repository));
    complaints.extend(words::check(&repository));
    complaints.extend(pinned::check(&repository));
    let lengths = lengths::check(&repository);
    complaints.extend(lengths.complaints);

    if !lengths.long.is_empty() {
        println!("files of more than {} lines:", lengths::SOFT_FILE_LINES);
        lengths.long.iter().for_each(|(path, lines)| println!("  {path}: {lines}"));
    }
    if complaints.is_empty() {
        return Ok(());
    }
    complaints.iter().for_each(|complaint| println!("tidy: {complaint}"));
    bail!("{} rules of the project are broken", complaints.len())
}
