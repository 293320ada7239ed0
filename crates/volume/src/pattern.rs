//! Patterns as the shell's, one for each part of a path.

use glob::Pattern;

use crate::{VolumeError, VolumePath};

/// One part of a path that may be a pattern.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    Name(String),
    Pattern(Pattern),
}

/// The parts of a path of which any may be a pattern: `*`, `?`, `[abc]`, `[!a]`. `**` is as `*`:
/// the SDK asks for `directory/**` and goes down by itself.
pub(crate) fn parts(path: &VolumePath) -> Result<Vec<Part>, VolumeError> {
    path.as_str()
        .split('/')
        .filter(|part| !part.is_empty())
        .map(|part| {
            if !part.contains(['*', '?', '[']) {
                return Ok(Part::Name(part.to_owned()));
            }
            let mut single = part.to_owned();
            while single.contains("**") {
                single = single.replace("**", "*");
            }
            let bad = |error: glob::PatternError| VolumeError::Path {
                path: part.chars().take(64).collect(),
                why: error.msg,
            };
            Pattern::new(&single).map(Part::Pattern).map_err(bad)
        })
        .collect()
}

/// Whether any part is a pattern.
pub(crate) fn has_pattern(parts: &[Part]) -> bool {
    parts.iter().any(|part| matches!(part, Part::Pattern(_)))
}
