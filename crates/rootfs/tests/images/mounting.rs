//! Images as the kernel mounts them.

use std::fs;
use std::path::{Path, PathBuf};

use metal9_rootfs::{Image, RootfsError};
use metal9_sandbox::Overlay;
use nix::mount::{MntFlags, umount2};

use crate::made::{image, layer, top};
use crate::server::{cache, settings};

/// Where something is mounted.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        umount2(&self.0, MntFlags::MNT_DETACH).unwrap();
    }
}

fn mount(image: &Image, directory: &Path) -> Mounted {
    let make = |name: &str| {
        let path = directory.join(name);
        fs::create_dir(&path).unwrap();
        path
    };
    let (upper, work, target) = (make("upper"), make("work"), make("target"));
    Overlay { lower: image.layers.clone(), upper, work, target: target.clone() }.mount().unwrap();
    Mounted(target)
}

/// The names in a directory.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn whiteouts_hide_what_is_below_them() {
    let layers = [
        layer(&[("d/", b""), ("d/gone", b"1"), ("d/stays", b"1"), ("o/", b""), ("o/old", b"1")]),
        layer(&[("d/", b""), ("d/.wh.gone", b""), ("o/", b""), ("o/.wh..wh..opq", b"")]),
        layer(&[("o/", b""), ("o/new", b"3"), ("f", b"3")]),
    ];
    let source = tempfile::tempdir().unwrap();
    image(&layers).layout(source.path());
    let (_directory, images) = cache(settings(&[])).await;
    let loaded = images.load(source.path()).await.unwrap();
    let place = tempfile::tempdir().unwrap();
    let mounted = mount(&loaded, place.path());
    let root = mounted.0.clone();
    assert_eq!(names(&root), ["d", "f", "o"]);
    assert_eq!(names(&root.join("d")), ["stays"]);
    assert_eq!(names(&root.join("o")), ["new"]);
    fs::write(root.join("d/mine"), "x").unwrap();
    assert_eq!(names(&place.path().join("upper/d")), ["mine"]);
    assert!(!loaded.layers.iter().any(|layer| layer.join("d/mine").exists()));
    drop(mounted);
    assert!(names(&root).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_of_very_many_layers_is_mounted() {
    let layers: Vec<Vec<u8>> =
        (0..200).map(|at| layer(&[(&format!("file-{at}"), b"x"), ("last", &[at])])).collect();
    let source = tempfile::tempdir().unwrap();
    image(&layers).layout(source.path());
    let (_directory, images) = cache(settings(&[])).await;
    let loaded = images.load(source.path()).await.unwrap();
    let place = tempfile::tempdir().unwrap();
    let mounted = mount(&loaded, place.path());
    assert_eq!(names(&mounted.0).len(), 201);
    assert_eq!(fs::read(mounted.0.join("last")).unwrap(), [199]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layout_is_loaded_from_a_directory_or_an_archive() {
    let source = tempfile::tempdir().unwrap();
    let digest = image(&[layer(&[("f", b"1")])]).layout(source.path());
    let archive = source.path().join("image.tar");
    let mut builder = tar::Builder::new(Vec::new());
    for name in ["oci-layout", "index.json", "blobs"] {
        let path = source.path().join(name);
        match path.is_dir() {
            true => builder.append_dir_all(name, &path).unwrap(),
            false => builder.append_path_with_name(&path, name).unwrap(),
        }
    }
    fs::write(&archive, builder.into_inner().unwrap()).unwrap();
    let (directory, images) = cache(settings(&[])).await;
    let loaded = images.load(&archive).await.unwrap();
    assert_eq!((loaded.digest.as_str(), top(&loaded, "f").as_str()), (digest.as_str(), "1"));
    assert_eq!(images.load(source.path()).await.unwrap().layers, loaded.layers);
    assert_eq!(directory.path().join("tmp").read_dir().unwrap().count(), 0);
    let (_other, small) =
        cache(metal9_rootfs::Settings { max_image_bytes: 10, ..settings(&[]) }).await;
    assert!(matches!(small.load(&archive).await, Err(RootfsError::TooLarge { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layout_that_lies_is_refused() {
    let made = image(&[layer(&[("f", b"1")])]);
    let blob = crate::made::digest(&made.blobs()[0]);
    let source = tempfile::tempdir().unwrap();
    made.layout(source.path());
    let path = source.path().join("blobs/sha256").join(&blob[7..]);
    let mut bytes = fs::read(&path).unwrap();
    // A time in the header of the packed layer, which changes nothing of what it unpacks to.
    bytes[5] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let (_directory, images) = cache(settings(&[])).await;
    assert!(matches!(images.load(source.path()).await, Err(RootfsError::Digest { .. })));
    // A link to what is elsewhere is no blob.
    let elsewhere = source.path().join("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
    assert!(matches!(images.load(source.path()).await, Err(RootfsError::Files { .. })));
}
