use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

use proptest::prelude::*;
use tar::{Builder, Header};
use tempfile::TempDir;

use super::*;
use crate::Settings;

/// A layer that is being made.
struct Made(Builder<Vec<u8>>);

impl Default for Made {
    fn default() -> Self {
        Self(Builder::new(Vec::new()))
    }
}

impl Made {
    /// Adds an entry with exactly this name, which the library would not let pass.
    fn entry(mut self, kind: EntryType, name: &str, link: &str, contents: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(contents.len() as u64);
        header.set_mode(0o644);
        header.set_uid(1);
        header.set_gid(2);
        header.set_mtime(1_000_000);
        put(&mut header.as_old_mut().name, name);
        put(&mut header.as_old_mut().linkname, link);
        header.set_cksum();
        self.0.append(&header, contents).unwrap();
        self
    }

    fn file(self, name: &str, contents: &str) -> Self {
        self.entry(EntryType::Regular, name, "", contents.as_bytes())
    }

    fn dir(self, name: &str) -> Self {
        self.entry(EntryType::Directory, name, "", b"")
    }

    fn link(self, name: &str, to: &str) -> Self {
        self.entry(EntryType::Symlink, name, to, b"")
    }

    fn hard(self, name: &str, to: &str) -> Self {
        self.entry(EntryType::Link, name, to, b"")
    }

    fn records(mut self, records: &[(&str, &[u8])]) -> Self {
        self.0.append_pax_extensions(records.iter().copied()).unwrap();
        self
    }

    fn unpack(self) -> Unpacked {
        self.unpack_with(settings())
    }

    fn unpack_with(self, settings: Settings) -> Unpacked {
        let bytes = self.0.into_inner().unwrap();
        unpack(&bytes, &bytes, settings)
    }
}

fn put(field: &mut [u8], text: &str) {
    field.fill(0);
    field[..text.len()].copy_from_slice(text.as_bytes());
}

fn settings() -> Settings {
    Settings {
        budget_bytes: 0,
        max_image_bytes: 10 << 20,
        max_layer_bytes: 8 << 20,
        max_entries: 100,
        uid_shift: 0,
        insecure_registries: Vec::new(),
    }
}

/// A directory with the layer in `layer`, and nothing beside it.
struct Unpacked {
    result: Result<(), RootfsError>,
    outer: TempDir,
}

fn unpack(packed: &[u8], plain: &[u8], settings: Settings) -> Unpacked {
    assert!(nix::unistd::geteuid().is_root(), "layers are unpacked by root only");
    let outer = tempfile::tempdir().unwrap();
    let target = outer.path().join("layer");
    fs::create_dir(&target).unwrap();
    let room = Arc::new(Room::new(&settings));
    let (diff_id, blob) = (Digest::of(plain), Digest::of(packed));
    let limit = settings.max_layer_bytes;
    let layer = Layer { diff_id: &diff_id, blob: Some(&blob), limit, shift: settings.uid_shift };
    let result = layer.unpack(packed, &target, &room);
    Unpacked { result, outer }
}

impl Unpacked {
    fn path(&self, name: &str) -> std::path::PathBuf {
        self.outer.path().join("layer").join(name)
    }

    fn text(&self, name: &str) -> String {
        self.result.as_ref().unwrap();
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn is_whiteout(&self, name: &str) -> bool {
        let facts = fs::symlink_metadata(self.path(name)).unwrap();
        facts.file_type().is_char_device() && facts.rdev() == 0
    }

    fn is_opaque(&self, name: &str) -> bool {
        let mut value = [0; 8];
        let count =
            rustix::fs::lgetxattr(self.path(name), "trusted.overlay.opaque", &mut value[..]);
        count.is_ok_and(|count| &value[..count] == b"y")
    }

    fn error(self) -> String {
        self.result.unwrap_err().to_string()
    }
}

#[test]
fn files_have_what_the_layer_says() {
    let made = Made::default()
        .dir("etc")
        .file("etc/a", "text")
        .hard("etc/b", "etc/a")
        .link("etc/c", "/etc/a")
        .entry(EntryType::Fifo, "pipe", "", b"")
        .file("implied/x", "x")
        .unpack();
    assert_eq!(made.text("etc/b"), "text");
    let facts = fs::metadata(made.path("etc/a")).unwrap();
    assert_eq!((facts.uid(), facts.gid(), facts.nlink()), (1, 2, 2));
    assert_eq!((facts.permissions().mode() & 0o7777, facts.mtime()), (0o644, 1_000_000));
    assert_eq!(fs::read_link(made.path("etc/c")).unwrap(), Path::new("/etc/a"));
    assert_eq!(fs::symlink_metadata(made.path("etc/c")).unwrap().uid(), 1);
    assert_eq!(fs::metadata(made.path("etc")).unwrap().mtime(), 1_000_000);
    assert!(fs::metadata(made.path("pipe")).unwrap().file_type().is_fifo());
    let implied = fs::metadata(made.path("implied")).unwrap();
    assert_eq!((implied.uid(), implied.permissions().mode() & 0o7777), (0, 0o755));
}

#[test]
fn owners_are_shifted() {
    let settings = Settings { uid_shift: 100_000, ..settings() };
    let made = Made::default().file("d/a", "text").unpack_with(settings);
    made.result.as_ref().unwrap();
    let owner = |name: &str| fs::metadata(made.path(name)).unwrap().uid();
    assert_eq!((owner(""), owner("d"), owner("d/a")), (100_000, 100_000, 100_001));
}

#[test]
fn attributes_that_mean_something_are_kept() {
    let capability = [&[1, 0, 0, 2][..], &[0; 16]].concat();
    let records: [(&str, &[u8]); 3] = [
        ("SCHILY.xattr.security.capability", &capability),
        ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
        ("mtime", b"77.5"),
    ];
    let made = Made::default().records(&records).file("ping", "").unpack();
    made.result.as_ref().unwrap();
    let mut value = [0; 64];
    let read = |name: &str, value: &mut [u8]| rustix::fs::lgetxattr(made.path("ping"), name, value);
    let count = read("security.capability", &mut value).unwrap();
    assert_eq!(value[..count], capability);
    assert!(read("trusted.overlay.redirect", &mut value).is_err());
    assert_eq!(fs::metadata(made.path("ping")).unwrap().mtime(), 77);
}

#[test]
fn whiteouts_become_what_overlayfs_knows() {
    let made = Made::default().file("a/.wh.gone", "").file("b/.wh..wh..opq", "").unpack();
    made.result.as_ref().unwrap();
    assert!(made.is_whiteout("a/gone"));
    assert!(made.is_opaque("b") && !made.is_opaque("a"));
}

#[test]
fn a_whiteout_hides_lower_layers_and_not_its_own() {
    let made = Made::default()
        .file(".wh.later", "")
        .dir("later")
        .file("later/x", "new")
        .dir("earlier")
        .file("earlier/x", "new")
        .file(".wh.earlier", "")
        .file(".wh.file", "")
        .file("file", "new")
        .unpack();
    assert_eq!(made.text("later/x"), "new");
    assert_eq!(made.text("earlier/x"), "new");
    assert_eq!(made.text("file"), "new");
    assert!(made.is_opaque("later") && made.is_opaque("earlier"));
}

#[test]
fn later_entries_take_the_place_of_earlier_ones() {
    let made = Made::default()
        .file("a/b/c", "old")
        .file("a", "file now")
        .file("f", "old")
        .dir("f")
        .file("f/x", "in it")
        .link("l", "a")
        .file("l", "no link")
        .unpack();
    assert_eq!(made.text("a"), "file now");
    assert_eq!(made.text("f/x"), "in it");
    assert_eq!(made.text("l"), "no link");
}

#[test]
fn links_lead_no_further_than_the_layers_root() {
    let made = Made::default()
        .dir("run")
        .link("var-run", "/run")
        .file("var-run/pid", "1")
        .link("up", "../../../..")
        .file("up/at-root", "2")
        .unpack();
    assert_eq!(made.text("run/pid"), "1");
    assert_eq!(made.text("at-root"), "2");
    assert_eq!(fs::read_dir(made.outer.path()).unwrap().count(), 1);
}

#[test]
fn entries_that_lead_out_are_refused() {
    let hostile: [Made; 6] = [
        Made::default().file("../evil", "x"),
        Made::default().file("a/../../evil", "x"),
        Made::default().hard("mine", "../../../../etc/passwd"),
        Made::default().hard("mine", "etc/passwd"),
        Made::default().link("to", "/etc").hard("mine", "to/passwd"),
        Made::default().file(".wh...", ""),
    ];
    for made in hostile {
        let made = made.unpack();
        assert_eq!(fs::read_dir(made.outer.path()).unwrap().count(), 1);
        assert!(!made.path("mine").exists());
        assert!(matches!(made.result, Err(RootfsError::Hostile { .. })), "{:?}", made.result);
    }
}

#[test]
fn devices_are_not_made() {
    let device = |kind, name| Made::default().entry(kind, name, "", b"");
    for kind in [EntryType::Char, EntryType::Block] {
        let made = device(kind, "dev").unpack();
        made.result.as_ref().unwrap();
        assert!(!made.path("dev").exists());
    }
    // Nor is another name of a whiteout.
    let made = Made::default().file(".wh.x", "").hard("y", "x").unpack();
    assert!(made.error().contains("is not there"));
}

#[test]
fn limits_count_what_is_written() {
    let large = "x".repeat(3 << 20);
    let one = |name: &str| Made::default().file(name, &large);
    one("a").unpack().result.unwrap();
    let made = one("a").file("b", &large).file("c", &large).unpack();
    assert!(matches!(made.result, Err(RootfsError::TooLarge { limit, .. }) if limit == 8 << 20));
    let few = Settings { max_entries: 3, ..settings() };
    let made = Made::default().file("a", "").file("b", "").file("c", "").file("d", "");
    assert!(matches!(made.unpack_with(few).result, Err(RootfsError::TooMany { limit: 3 })));
    let small = Settings { max_image_bytes: 1 << 20, ..settings() };
    assert!(matches!(one("a").unpack_with(small).result, Err(RootfsError::TooLarge { .. })));
}

#[test]
fn a_bomb_ends_at_the_limit() {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..64 {
        packer.write_all(&vec![0; 1 << 20]).unwrap();
    }
    let packed = packer.finish().unwrap();
    assert!(packed.len() < 100_000);
    let made = unpack(&packed, b"whatever", settings());
    assert!(matches!(made.result, Err(RootfsError::TooLarge { .. })), "{:?}", made.result);
}

#[test]
fn names_without_end_are_not_read_into_memory() {
    let made = Made::default().entry(EntryType::GNULongName, "x", "", &vec![b'a'; 5 << 20]);
    assert!(made.file("a", "").unpack().error().contains("too long"));
}

#[test]
fn a_layer_is_what_its_digests_say() {
    let bytes = Made::default().file("a", "x").0.into_inner().unwrap();
    let made = unpack(&bytes, b"something else", settings());
    assert!(matches!(made.result, Err(RootfsError::Digest { .. })), "{:?}", made.result);
    assert!(unpack(&bytes[..700], &bytes[..700], settings()).result.is_err());
}

/// Names that are likely to meet one another.
fn name() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("a"),
        Just("b"),
        Just(".wh.a"),
        Just(".wh..wh..opq"),
        Just(".."),
        Just("."),
        Just("")
    ];
    prop::collection::vec(part, 1..4).prop_map(|parts| parts.join("/"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn whatever_a_layer_says_nothing_is_made_beside_it(
        entries in prop::collection::vec((0..6_usize, name(), name()), 1..12)
    ) {
        let kinds = [
            EntryType::Regular, EntryType::Directory, EntryType::Symlink, EntryType::Link,
            EntryType::Char, EntryType::Fifo,
        ];
        let made = entries.iter().fold(Made::default(), |made, (kind, name, link)| {
            made.entry(kinds[*kind], name, link, b"")
        });
        let made = made.unpack();
        prop_assert_eq!(fs::read_dir(made.outer.path()).unwrap().count(), 1);
    }
}
