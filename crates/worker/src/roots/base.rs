//! The image that another begins with: a registry's, or an OCI image layout of this machine.

use std::path::{Path, PathBuf};

use metal9_env::Progress;
use metal9_rootfs::{Credentials, Image, Images};

use super::{RootError, plan};

/// Before the name of a layout, where a registry's would be.
const LAYOUT: &str = "oci:";
/// After the name of one that is an archive.
const ARCHIVE: &str = ".tar";

/// What an image begins with.
#[derive(Debug)]
pub(super) enum Base {
    /// A registry's, by its digest.
    Pulled { name: String, digest: String },
    /// A layout, which is in the cache now.
    Layout { path: PathBuf, image: Image },
}

impl Base {
    /// Finds it. `pinned` is the digest that it must have; nothing for the one that it has now.
    pub(super) async fn find(
        images: &Images,
        layouts: Option<&Path>,
        name: &str,
        pinned: Option<&str>,
        credentials: Option<&Credentials>,
        progress: &Progress,
    ) -> Result<Self, RootError> {
        if let Some(own) = name.strip_prefix(LAYOUT) {
            let path = layout(layouts, own)?;
            progress(&format!("reading `{}`\n", path.display()));
            let image = images.load(&path).await?;
            if let Some(pinned) = pinned.filter(|pinned| *pinned != image.digest) {
                let (pinned, found) = (pinned.to_owned(), image.digest);
                return Err(RootError::Changed { name: name.to_owned(), pinned, found });
            }
            return Ok(Self::Layout { path, image });
        }
        let digest = match pinned {
            Some(digest) => digest.to_owned(),
            None => {
                progress(&format!("looking for `{name}`\n"));
                images.resolve(name, credentials).await?
            }
        };
        Ok(Self::Pulled { name: plan::pinned(name, &digest), digest })
    }

    /// The digest of its manifest.
    pub(super) fn digest(&self) -> &str {
        match self {
            Self::Pulled { digest, .. } => digest,
            Self::Layout { image, .. } => &image.digest,
        }
    }
}

/// The layout of a name, below the directory of all.
fn layout(directory: Option<&Path>, name: &str) -> Result<PathBuf, RootError> {
    let unknown = |why: String| RootError::Layout { name: name.to_owned(), why };
    let Some(directory) = directory else {
        return Err(unknown("this worker has no `images.layouts_dir`".to_owned()));
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
        let text = "names of layouts have letters, digits, `.`, `_` and `-`";
        return Err(unknown(text.to_owned()));
    }
    let places = [directory.join(name), directory.join(format!("{name}{ARCHIVE}"))];
    // By its own name: buildah's policy knows files by nothing else.
    let there = places.into_iter().find_map(|path| path.canonicalize().ok());
    there.ok_or_else(|| {
        let directory = directory.display();
        unknown(format!("`{directory}` has neither `{name}` nor `{name}{ARCHIVE}`"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_is_below_the_directory_and_nowhere_else() {
        let place = tempfile::tempdir().unwrap();
        let place_of = |name: &str| place.path().canonicalize().unwrap().join(name);
        let here = Some(place.path());
        std::fs::create_dir(place.path().join("a")).unwrap();
        std::fs::write(place.path().join("b-1.tar"), "").unwrap();
        std::os::unix::fs::symlink("a", place.path().join("link")).unwrap();
        assert_eq!(layout(here, "a").unwrap(), place_of("a"));
        assert_eq!(layout(here, "link").unwrap(), place_of("a"));
        assert_eq!(layout(here, "b-1").unwrap(), place_of("b-1.tar"));
        assert_eq!(layout(here, "b-1.tar").unwrap(), place_of("b-1.tar"));
        for name in ["", ".", "..", "../a", "/a", "a/b", "c", "a b"] {
            assert!(layout(here, name).is_err(), "{name}");
        }
        assert!(layout(None, "a").is_err());
    }
}
