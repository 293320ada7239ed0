//! The job's own files.

use std::collections::BTreeSet;
use std::path::Path;

use super::text::quote;
use super::{ProfileError, heading, rule};
use crate::isolation::{Access, FileRule};

/// Writes the rules in their order.
pub(super) fn write(text: &mut String, files: &[FileRule]) -> Result<(), ProfileError> {
    heading(text, "the job's files; a later rule wins");
    for file in files {
        let places = places(file, "subpath")?;
        match &file.access {
            Access::Read => rule(text, "allow file-read*", &places),
            Access::Execute => {
                rule(text, "allow file-read* file-map-executable process-exec*", &places);
            }
            // Programs that compile put them here, and then run them.
            Access::Write => rule(
                text,
                "allow file-read* file-write* file-map-executable process-exec* file-ioctl",
                &places,
            ),
            // No rule gives a job any device beside the few of the system.
            Access::Device => {}
            Access::Link(_) => {
                rule(text, "allow file-read*", &[format!("(literal {})", quote(&file.path)?)]);
            }
            Access::Hidden => {
                rule(text, "deny file-read* file-write* file-map-executable process-exec*", &places)
            }
        }
    }
    ancestors(text, files)
}

/// A path, and where it is if that is elsewhere: a rule is about files, but the name that a program
/// uses is looked up as well (nono writes both).
fn places(file: &FileRule, filter: &str) -> Result<Vec<String>, ProfileError> {
    let mut places = vec![format!("({filter} {})", quote(&file.source)?)];
    if file.path != file.source {
        places.push(format!("({filter} {})", quote(&file.path)?));
    }
    Ok(places)
}

/// That the directories above are there, and nothing else of them: `realpath` and Python's imports
/// look at every part of a path.
fn ancestors(text: &mut String, files: &[FileRule]) -> Result<(), ProfileError> {
    let open = files.iter().filter(|file| file.access != Access::Hidden);
    let above: BTreeSet<&Path> = open
        .flat_map(|file| [&file.path, &file.source])
        .flat_map(|path| path.ancestors().skip(1))
        .filter(|path| path.parent().is_some())
        .collect();
    if above.is_empty() {
        return Ok(());
    }
    let literal = |path: &&Path| Ok(format!("(literal {})", quote(path)?));
    let above: Vec<String> = above.iter().map(literal).collect::<Result<_, ProfileError>>()?;
    rule(text, "allow file-read-metadata", &above);
    Ok(())
}
