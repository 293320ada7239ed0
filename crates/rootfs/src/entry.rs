//! What an entry of a layer asks for, by its name alone.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

/// What the names of whiteouts begin with.
const WHITEOUT: &[u8] = b".wh.";
/// What the names begin with that are notes of a union file system to itself.
const NOTE: &[u8] = b".wh..wh.";
/// The note that says that a directory hides all below it.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// The longest path, in bytes; Linux takes no longer ones.
const LONGEST: usize = 4096;

/// What an entry asks for. Paths are relative, without `.` and `..`, and not empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Ask {
    /// Something to be made here.
    Make(PathBuf),
    /// What lower layers have here is to be hidden.
    Hide(PathBuf),
    /// What lower layers have in this directory is to be hidden; empty for the root.
    HideAllIn(PathBuf),
    /// The root directory itself.
    Root,
    /// Nothing.
    Ignore,
}

/// Why an entry's name is not taken.
pub(crate) type Why = &'static str;

/// Reads the name of an entry.
pub(crate) fn ask(name: &[u8]) -> Result<Ask, Why> {
    let path = relative(name)?;
    let Some(base) = path.file_name() else { return Ok(Ask::Root) };
    let parent = path.parent().unwrap_or_else(|| Path::new(""));
    if parent.components().any(|part| part.as_os_str().as_bytes().starts_with(WHITEOUT)) {
        return Err("that is inside of a whiteout");
    }
    let base = base.as_bytes();
    if base == OPAQUE {
        return Ok(Ask::HideAllIn(parent.to_owned()));
    }
    if base.starts_with(NOTE) {
        return Ok(Ask::Ignore);
    }
    match base.strip_prefix(WHITEOUT) {
        None => Ok(Ask::Make(path)),
        Some(b"" | b"." | b"..") => Err("that hides no file"),
        Some(hidden) => Ok(Ask::Hide(parent.join(OsStr::from_bytes(hidden)))),
    }
}

/// A name as a path below the root: a leading `/` means nothing, and `..` is not taken.
pub(crate) fn relative(name: &[u8]) -> Result<PathBuf, Why> {
    if name.len() > LONGEST {
        return Err("with a name that is too long");
    }
    if name.contains(&0) {
        return Err("with a NUL in its name");
    }
    let mut path = PathBuf::new();
    let whole = OsString::from_vec(name.to_vec());
    for component in Path::new(&whole).components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err("that leads out of the image");
            }
        }
    }
    Ok(path)
}

/// A name as messages show it.
pub(crate) fn shown(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    let clean = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c });
    clean.take(100).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_below_the_root_however_they_are_written() {
        for name in ["etc/x", "/etc/x", "./etc/./x", "//etc//x/"] {
            assert_eq!(ask(name.as_bytes()), Ok(Ask::Make("etc/x".into())), "{name}");
        }
        for root in ["", ".", "./", "/"] {
            assert_eq!(ask(root.as_bytes()), Ok(Ask::Root), "{root}");
        }
    }

    #[test]
    fn whiteouts_say_what_they_hide() {
        assert_eq!(ask(b"etc/.wh.x"), Ok(Ask::Hide("etc/x".into())));
        assert_eq!(ask(b".wh.x"), Ok(Ask::Hide("x".into())));
        assert_eq!(ask(b"etc/.wh..wh..opq"), Ok(Ask::HideAllIn("etc".into())));
        assert_eq!(ask(b".wh..wh..opq"), Ok(Ask::HideAllIn("".into())));
        assert_eq!(ask(b"etc/.wh..wh.plnk"), Ok(Ask::Ignore));
        assert_eq!(ask(b"etc/.whx"), Ok(Ask::Make("etc/.whx".into())));
        assert_eq!(ask(b"etc/.wh...x"), Ok(Ask::Hide("etc/..x".into())));
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in ["../x", "a/../../x", "a/..", "a\0b", ".wh.", ".wh...", ".wh..", ".wh.a/b"] {
            assert!(ask(name.as_bytes()).is_err(), "{name}");
        }
        assert!(ask("x/".repeat(3000).as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn no_name_leads_out(name in prop::collection::vec(
            prop_oneof![Just(b'.'), Just(b'/'), Just(b'w'), Just(b'h'), any::<u8>()], 0..40)) {
            let path = match ask(&name) {
                Ok(Ask::Make(path) | Ask::Hide(path)) => {
                    prop_assert!(path.file_name().is_some());
                    path
                }
                Ok(Ask::HideAllIn(path)) => path,
                _ => return Ok(()),
            };
            let normal = |part: Component<'_>| matches!(part, Component::Normal(_));
            prop_assert!(path.components().all(normal), "{path:?}");
        }
    }
}
