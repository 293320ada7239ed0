//! Paths in the language of profiles.

use std::path::Path;

use super::ProfileError;

/// A path as a string of the language.
pub(super) fn quote(path: &Path) -> Result<String, ProfileError> {
    let text = printable(path)?;
    Ok(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

/// A path as a part of a regular expression within `#"…"`.
pub(super) fn pattern(path: &Path) -> Result<String, ProfileError> {
    let text = printable(path)?;
    // Within such a string nothing can stand for its end.
    if text.contains('"') {
        return Err(ProfileError::Path { path: path.to_owned() });
    }
    let mut pattern = String::new();
    for character in text.chars() {
        if !character.is_alphanumeric() && !matches!(character, '/' | '_' | '-') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    Ok(pattern)
}

/// How the language writes control characters is documented nowhere, and macOS' file systems have no
/// names that are not UTF-8.
fn printable(path: &Path) -> Result<&str, ProfileError> {
    path.to_str()
        .filter(|text| text.starts_with('/') && !text.chars().any(char::is_control))
        .ok_or_else(|| ProfileError::Path { path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn a_path_cannot_end_its_string() {
        let path = Path::new("/a\") (allow default) (\"b\\");
        assert_eq!(quote(path).unwrap(), r#""/a\") (allow default) (\"b\\""#);
        assert!(pattern(path).is_err());
    }

    #[test]
    fn a_pattern_matches_the_path_and_nothing_else() {
        let path = Path::new("/private/var/folders/a+b/x.y/C");
        assert_eq!(pattern(path).unwrap(), r"/private/var/folders/a\+b/x\.y/C");
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        for path in [
            Path::new("/a\nb"),
            Path::new("relative"),
            Path::new(""),
            Path::new(OsStr::from_bytes(b"/\xff")),
        ] {
            assert!(quote(path).is_err() && pattern(path).is_err(), "{path:?}");
        }
    }
}
