//! What a build is known by: everything that goes into it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::spec::BuildSpec;
use crate::RootfsError;
use crate::digest::{Digest, Hasher};

/// Counted up when the same would be built differently.
const VERSION: &[u8] = b"2";

/// The digest of a build with this Dockerfile, on a base image of this digest, if there is one.
pub(super) fn key(spec: &BuildSpec, dockerfile: &str, base: &str) -> Result<Digest, RootfsError> {
    let mut hasher = Hasher::default();
    part(&mut hasher, VERSION);
    part(&mut hasher, std::env::consts::ARCH.as_bytes());
    part(&mut hasher, dockerfile.as_bytes());
    part(&mut hasher, base.as_bytes());
    part(&mut hasher, &[u8::from(spec.network)]);
    let trees = spec.files.iter().map(|(host, _)| host).chain(&spec.context);
    for path in trees {
        tree(&mut hasher, path).map_err(RootfsError::files("read", path))?;
    }
    Ok(hasher.finish())
}

/// With its length, so that two parts are never the same as two others.
fn part(hasher: &mut Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

/// All below a path, links as links. A pipe or a device counts by its name only.
fn tree(hasher: &mut Hasher, top: &Path) -> io::Result<()> {
    let mut open = vec![top.to_owned()];
    while let Some(path) = open.pop() {
        let facts = fs::symlink_metadata(&path)?;
        part(hasher, path.strip_prefix(top).unwrap_or(&path).as_os_str().as_bytes());
        part(hasher, &facts.permissions().mode().to_le_bytes());
        if facts.is_symlink() {
            part(hasher, fs::read_link(&path)?.as_os_str().as_bytes());
        } else if facts.is_file() {
            let mut contents = Hasher::default();
            let mut file = File::open(&path)?;
            let mut buffer = vec![0; 64 * 1024];
            loop {
                let count = file.read(&mut buffer)?;
                if count == 0 {
                    break;
                }
                contents.update(&buffer[..count]);
            }
            part(hasher, contents.finish().as_str().as_bytes());
        } else if facts.is_dir() {
            let entries = fs::read_dir(&path)?.collect::<io::Result<Vec<_>>>()?;
            let mut below: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
            below.sort();
            open.extend(below);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_another_when_anything_that_goes_into_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        fs::create_dir(path.join("sub")).unwrap();
        fs::write(path.join("sub/a"), "1").unwrap();
        let spec = BuildSpec { context: Some(path.to_owned()), ..BuildSpec::default() };
        let of = |spec: &BuildSpec| key(spec, "FROM x", "1").unwrap();
        let first = of(&spec);
        assert_eq!(of(&spec), first);
        assert_ne!(key(&spec, "FROM y", "1").unwrap(), first);
        assert_ne!(key(&spec, "FROM x", "2").unwrap(), first);
        assert_ne!(of(&BuildSpec { network: true, ..spec.clone() }), first);
        // The value of a secret may change.
        let secrets = vec![("A".to_owned(), "1".to_owned())];
        assert_eq!(of(&BuildSpec { secrets, ..spec.clone() }), first);
        fs::write(path.join("sub/a"), "2").unwrap();
        assert_ne!(of(&spec), first);
        fs::write(path.join("sub/a"), "1").unwrap();
        assert_eq!(of(&spec), first);
        fs::set_permissions(path.join("sub/a"), fs::Permissions::from_mode(0o755)).unwrap();
        assert_ne!(of(&spec), first);
    }
}
