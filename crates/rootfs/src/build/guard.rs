//! What stands between buildah and the runtime: no step gets anything mounted that is not of its build.
//!
//! A Dockerfile says what is mounted where, and names can lead elsewhere: by links in an image, or by
//! more `..` than there are directories. Buildah looks at them itself, and some of its versions do
//! so badly. Whatever it has understood is looked at here once more, as the runtime gets it: not the
//! names, but what of which file system they stand for.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use serde::Deserialize;

use super::root::{CONTEXT, FILES, STORAGE, WORK};

/// The command of the program that [`runtime_main`] is.
pub const RUNTIME_COMMAND: &str = "build-runtime";

/// Kinds of mounts that have nothing of anybody.
const EMPTY: [&str; 7] = ["proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2"];

/// Runs an OCI runtime, the first argument, with the other arguments, unless it is to make a container
/// with something in it that is not of the build. Buildah takes this for the runtime.
#[expect(clippy::print_stderr, reason = "buildah shows what its runtime writes there")]
pub fn runtime_main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter();
    let Some(runtime) = arguments.next() else {
        eprintln!("metal9: no runtime is named");
        return ExitCode::FAILURE;
    };
    let arguments: Vec<_> = arguments.collect();
    if let Some(bundle) = bundle(&arguments)
        && let Err(why) = check(&bundle)
    {
        eprintln!("metal9: this step is refused: {why}");
        return ExitCode::FAILURE;
    }
    let error = Command::new(&runtime).args(arguments).exec();
    eprintln!("metal9: could not run `{}`: {error}", runtime.display());
    ExitCode::FAILURE
}

/// The directory of the container that is to be made, if one is.
fn bundle(arguments: &[OsString]) -> Option<PathBuf> {
    let makes = |argument: &OsString| argument == "create" || argument == "run";
    if !arguments.iter().any(makes) {
        return None;
    }
    let mut named = PathBuf::from(".");
    for (at, argument) in arguments.iter().enumerate() {
        if argument == "--bundle" || argument == "-b" {
            named = arguments.get(at + 1).map(PathBuf::from).unwrap_or_default();
        } else if let Some(value) = argument.as_bytes().strip_prefix(b"--bundle=") {
            named = PathBuf::from(OsStr::from_bytes(value));
        }
    }
    Some(named)
}

#[derive(Debug, Deserialize)]
struct Container {
    root: Root,
    #[serde(default)]
    mounts: Vec<Wanted>,
}

#[derive(Debug, Deserialize)]
struct Root {
    path: PathBuf,
}

/// What is to be mounted.
#[derive(Debug, Deserialize)]
struct Wanted {
    destination: String,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    source: PathBuf,
    #[serde(default)]
    options: Vec<String>,
}

fn check(bundle: &Path) -> Result<(), String> {
    let path = bundle.join("config.json");
    let read = |path: &Path| fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let container: Container =
        serde_json::from_slice(&read(&path)?).map_err(|error| error.to_string())?;
    let mounts = Mounts::parse(&read(Path::new("/proc/self/mountinfo"))?);
    let find = |path: &Path| bundle.join(path).canonicalize().map_err(|error| error.to_string());
    check_container(&container, &mounts, find)
}

/// `find` gives the path that a name stands for.
fn check_container(
    container: &Container,
    mounts: &Mounts,
    find: impl Fn(&Path) -> Result<PathBuf, String>,
) -> Result<(), String> {
    let is_own =
        |path: &Path| -> Result<bool, String> { Ok(mounts.are_of_the_build(&find(path)?)) };
    if !is_own(&container.root.path)? {
        return Err(format!("`{}` is no root of this build", container.root.path.display()));
    }
    for wanted in &container.mounts {
        let refused = |what: &Path| {
            format!(
                "what is to be at `{}` is not of this build: `{}`\n\
                 hint: `--mount` takes paths of the context and of images only, without links that \
                 lead out of them",
                wanted.destination,
                what.display()
            )
        };
        let is_bound = wanted.options.iter().any(|option| option == "bind" || option == "rbind");
        let sources: Vec<PathBuf> = match wanted.kind.as_str() {
            _ if is_bound => vec![wanted.source.clone()],
            "bind" => vec![wanted.source.clone()],
            "overlay" => wanted.options.iter().flat_map(|option| directories(option)).collect(),
            kind if EMPTY.contains(&kind) => Vec::new(),
            _ => return Err(refused(&wanted.source)),
        };
        if let Some(source) = sources.iter().find(|source| !matches!(is_own(source), Ok(true))) {
            return Err(refused(source));
        }
    }
    Ok(())
}

/// The directories in an option of an overlay. One whose name has a colon in it is found nowhere then.
fn directories(option: &str) -> Vec<PathBuf> {
    match option.split_once('=') {
        Some(("lowerdir" | "upperdir" | "workdir", value)) => {
            value.split(':').map(PathBuf::from).collect()
        }
        _ => Vec::new(),
    }
}

/// A line of `/proc/self/mountinfo`.
#[derive(Debug)]
struct Mount {
    device: String,
    /// What of the file system is there.
    root: PathBuf,
    place: PathBuf,
    is_overlay: bool,
}

#[derive(Debug)]
struct Mounts(Vec<Mount>);

impl Mounts {
    fn parse(text: &[u8]) -> Self {
        let parse = |line: &[u8]| {
            let mut words = line.split(|byte| *byte == b' ');
            let device = String::from_utf8_lossy(words.nth(2)?).into_owned();
            let (root, place) = (path(words.next()?), path(words.next()?));
            let is_overlay = words.skip_while(|word| *word != b"-").nth(1)? == b"overlay";
            Some(Mount { device, root, place, is_overlay })
        };
        Self(text.split(|byte| *byte == b'\n').filter_map(parse).collect())
    }

    /// What is at a path without links: of which file system, and which of its files.
    fn at(&self, path: &Path) -> Option<(&str, PathBuf)> {
        // Of those at one place, the last hides the others.
        let covering = self.0.iter().filter(|mount| path.starts_with(&mount.place));
        let mount = covering.max_by_key(|mount| mount.place.components().count())?;
        Some((&mount.device, mount.root.join(path.strip_prefix(&mount.place).ok()?)))
    }

    /// Whether what is at a path is of the build, with all that is mounted below.
    fn are_of_the_build(&self, path: &Path) -> bool {
        let own = |(device, file): (&str, PathBuf)| self.is_of_the_build(device, &file);
        let mut below = self.0.iter().filter(|mount| mount.place.starts_with(path));
        self.at(path).is_some_and(own)
            && below.all(|mount| self.is_of_the_build(&mount.device, &mount.root))
    }

    fn is_of_the_build(&self, device: &str, file: &Path) -> bool {
        // The roots of images, of which there are mounts with a name that nobody else can give.
        let images = Path::new(STORAGE).join("overlay");
        let is_image = |mount: &&Mount| {
            mount.is_overlay
                && mount.place.file_name() == Some(OsStr::new("merged"))
                && mount.place.parent().and_then(Path::parent) == Some(&images)
        };
        if self.0.iter().filter(is_image).any(|mount| mount.device == device) {
            return true;
        }
        let contexts = self.0.iter().filter(|mount| mount.place.starts_with(FILES));
        let places = contexts.map(|mount| (mount.place.clone(), 0)).chain([
            (PathBuf::from(CONTEXT), 0),
            // Not what buildah has of its own there, whose names nobody knows.
            (PathBuf::from(WORK), 2),
            (Path::new(STORAGE).join("overlay-containers"), 3),
            // Values of secrets.
            (PathBuf::from("/dev/shm"), 1),
        ]);
        let mut places = places.filter_map(|(place, depth)| Some((self.at(&place)?, depth)));
        places.any(|((of, top), depth)| {
            let below = file.strip_prefix(&top).map(|below| below.components().count());
            of == device && below.is_ok_and(|below| below >= depth)
        })
    }
}

/// A path in a list of mounts, where some characters are numbers.
fn path(word: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let [first, others @ ..] = rest {
        let number = others
            .get(..3)
            .filter(|_| *first == b'\\')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(number.unwrap_or(*first));
        rest = if number.is_some() { &others[3..] } else { others };
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &[u8] = b"\
65 43 0:39 / / rw - tmpfs tmpfs rw
66 65 254:0 /usr /usr ro - ext4 /dev/vda rw
69 65 0:40 / /proc ro - proc proc ro
80 65 254:0 /cache/tmp/a/work /metal9/work rw - ext4 /dev/vda rw
81 65 254:0 /cache/buildah/of-1 /metal9/storage rw - ext4 /dev/vda rw
82 65 254:0 /objects/a\\040b /metal9/context ro - ext4 /dev/vda rw
83 65 254:0 /elsewhere /metal9/files/0 ro - ext4 /dev/vda rw
90 81 0:50 / /metal9/storage/overlay/1/merged rw shared:1 - overlay overlay rw
91 81 0:51 / /metal9/storage/overlay/2/merged rw - overlay overlay rw
92 80 0:51 / /metal9/work/buildah1/mnt/rootfs rw - overlay overlay rw
93 80 0:50 /lib /metal9/work/buildah1/mnt/good rw - overlay overlay rw
94 80 0:39 / /metal9/work/buildah1/mnt/all rw - tmpfs tmpfs rw
95 80 254:0 /usr /metal9/work/buildah1/mnt/usr rw - ext4 /dev/vda rw
96 80 254:0 /cache/buildah/of-1 /metal9/work/buildah1/mnt/storage rw - ext4 /dev/vda rw
97 80 254:0 /objects/a\\040b/in /metal9/work/buildah1/mnt/context rw - ext4 /dev/vda rw
98 80 254:0 /cache/tmp/a/work /metal9/work/buildah1/mnt/work rw - ext4 /dev/vda rw
99 93 0:40 / /metal9/work/buildah1/mnt/good/proc rw - proc proc rw
";

    fn checked(kind: &str, source: &str, options: &[&str]) -> Result<(), String> {
        let mount = serde_json::json!({
            "destination": "/exploit", "type": kind, "source": source, "options": options,
        });
        let root = serde_json::json!({ "path": "/metal9/work/buildah1/mnt/rootfs" });
        let container = serde_json::json!({ "root": root, "mounts": [mount] });
        let container = serde_json::from_value(container).unwrap();
        check_container(&container, &Mounts::parse(MOUNTS), |path| Ok(path.to_owned()))
    }

    #[test]
    fn what_is_of_the_build_may_be_mounted_and_nothing_else() {
        let mnt = "/metal9/work/buildah1/mnt";
        let own = [
            "/metal9/storage/overlay/1/merged/lib".to_owned(),
            "/metal9/storage/overlay-containers/1/userdata/secrets/a".to_owned(),
            "/metal9/work/buildah1/hosts".to_owned(),
            "/metal9/work/buildah-cache/1".to_owned(),
            "/dev/shm/buildah2".to_owned(),
            "/metal9/context".to_owned(),
            "/metal9/files/0/file".to_owned(),
            format!("{mnt}/context"),
        ];
        for source in own {
            checked("bind", &source, &["rbind"]).unwrap_or_else(|why| panic!("{source}: {why}"));
        }
        let others = [
            "/".to_owned(),
            "/usr".to_owned(),
            "/dev/shm".to_owned(),
            "/proc/1/root".to_owned(),
            "/metal9/work".to_owned(),
            "/metal9/work/buildah1".to_owned(),
            "/metal9/storage".to_owned(),
            "/metal9/storage/overlay/1/diff".to_owned(),
            "/metal9/storage/overlay-containers/1".to_owned(),
            format!("{mnt}/all"),
            format!("{mnt}/usr"),
            format!("{mnt}/storage"),
            format!("{mnt}/work"),
            // With what is mounted in it.
            format!("{mnt}/good"),
        ];
        for source in others {
            let why = checked("bind", &source, &["rbind", "rw"]).expect_err(&source);
            assert!(why.contains("`/exploit`") && why.contains(&source), "{why}");
            // By another name, or in pieces.
            checked("none", &source, &["bind"]).unwrap_err();
            let lower = format!("lowerdir=/metal9/context:{source}");
            checked("overlay", "overlay", &[&lower]).unwrap_err();
        }
        checked("tmpfs", "tmpfs", &["rw"]).unwrap();
        checked("ext4", "/dev/vda", &["rw"]).unwrap_err();
    }

    #[test]
    fn only_what_makes_a_container_is_looked_at() {
        let bundle = |words: &[&str]| bundle(&words.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(bundle(&["create", "--bundle", "/a", "name"]), Some("/a".into()));
        assert_eq!(bundle(&["--debug", "run", "--bundle=/a", "name"]), Some("/a".into()));
        assert_eq!(bundle(&["create", "name"]), Some(".".into()));
        assert_eq!(bundle(&["start", "name"]), None);
    }
}
