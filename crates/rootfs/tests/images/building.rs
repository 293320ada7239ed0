//! Images that buildah makes.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use metal9_rootfs::{BuildOptions, BuildSpec, Builder, Image, Images, RootfsError, Step};

use crate::made::{image, layer};
use crate::server::{Server, cache, program, settings};

pub(crate) fn builder() -> Builder {
    program("buildah", "buildah");
    program("runc", "runc");
    program("unshare", "util-linux");
    Builder::find(Path::new(env!("CARGO_BIN_EXE_metal9-build-fixture"))).unwrap()
}

pub(crate) fn options() -> BuildOptions {
    let timeout = Duration::from_secs(120);
    BuildOptions { timeout, credentials: None, network_namespace: None }
}

/// A registry with an image of nothing but busybox, and something that says it is Python 3.11.
async fn base() -> (Server, String) {
    let busybox = fs::read(program("busybox", "busybox-static")).unwrap();
    assert!(
        busybox.len() > 1 << 20,
        "this busybox needs libraries: `apt-get install busybox-static`"
    );
    let python = b"#!/bin/sh\ncase $1 in\n--version) echo Python 3.11.9 ;;\n*) echo \"$@\" > /installed ;;\nesac\n";
    let files: [(&str, &[u8]); 6] = [
        ("bin/", b""),
        ("bin/sh", &busybox),
        ("bin/cat", b"#!/bin/sh\nexec /bin/sh -c 'while read -r l || [ -n \"$l\" ]; do echo \"$l\"; done < \"$0\"' \"$1\"\n"),
        ("bin/python3.11", python),
        ("tmp/", b""),
        ("bin/sleep", &busybox),
    ];
    let server = Server::start();
    let name = format!("{}/base:latest", server.host);
    image(&[layer(&files)]).push(&name).await;
    (server, name)
}

pub(crate) fn spec(base: &str) -> BuildSpec {
    let (base, python) = (Some(base.to_owned()), "python3.11".to_owned());
    BuildSpec { base, python, ..BuildSpec::default() }
}

fn shell(command: &str) -> Step {
    Step::Shell(command.to_owned())
}

pub(crate) async fn build(
    images: &Images,
    spec: &BuildSpec,
) -> (Result<Image, RootfsError>, Vec<String>) {
    let lines = Mutex::new(Vec::new());
    let log = |line: &str| lines.lock().unwrap().push(line.to_owned());
    let built = builder().build(images, spec, &options(), log).await;
    (built, lines.into_inner().unwrap())
}

/// Where the topmost layer is that has a file.
fn read(image: &Image, name: &str) -> String {
    let layer = image.layers.iter().find(|layer| layer.join(name).exists());
    let layer = layer.unwrap_or_else(|| panic!("no layer has `{name}`"));
    fs::read_to_string(layer.join(name)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_are_done_above_the_base_and_only_once() {
    let (server, base) = base().await;
    let (_directory, images) = cache(settings(&[&server.host])).await;
    let host = tempfile::tempdir().unwrap();
    fs::create_dir(host.path().join("dir")).unwrap();
    fs::write(host.path().join("dir/inner"), "inner").unwrap();
    fs::write(host.path().join("single"), "single").unwrap();
    let spec = BuildSpec {
        steps: vec![
            shell("echo \"$A and $TOKEN\" > /said; echo \"said it\""),
            Step::Pip(vec!["one".to_owned(), "two three".to_owned()]),
        ],
        env: vec![("A".to_owned(), "$x \"y\"".to_owned())],
        secrets: vec![("TOKEN".to_owned(), "hush".to_owned())],
        files: vec![
            (host.path().join("dir"), "/opt/dir".into()),
            (host.path().join("single"), "/opt/single".into()),
        ],
        ..spec(&base)
    };
    let (built, lines) = build(&images, &spec).await;
    let built = built.unwrap();
    assert!(lines.iter().any(|line| line == "said it"), "{lines:?}");
    assert_eq!(read(&built, "said"), "$x \"y\" and hush\n");
    assert_eq!(read(&built, "installed"), "-m pip install one two three\n");
    assert_eq!(read(&built, "opt/dir/inner"), "inner");
    assert_eq!(read(&built, "opt/single"), "single");
    assert!(built.config.env.contains(&("A".to_owned(), "$x \"y\"".to_owned())));
    assert!(!format!("{:?}", built.config).contains("hush"));
    assert_eq!(built.config.workdir.as_deref(), Some("/srv"));
    let pulled = images.pull(&base, None, |_| ()).await.unwrap();
    assert_eq!(built.layers.last(), pulled.layers.last(), "the base's layer is shared");

    let (again, lines) = build(&images, &spec).await;
    assert_eq!((again.unwrap().digest, lines), (built.digest, Vec::<String>::new()));
    let other = BuildSpec { steps: vec![shell("echo other > /said")], ..spec };
    assert_eq!(read(&build(&images, &other).await.0.unwrap(), "said"), "other\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dockerfile_is_built_with_its_context() {
    let (server, base) = base().await;
    let (_directory, images) = cache(settings(&[&server.host])).await;
    let context = tempfile::tempdir().unwrap();
    fs::write(context.path().join("data"), "from the context").unwrap();
    let spec = BuildSpec {
        base: None,
        dockerfile: Some(format!("FROM {base}\nCOPY data /data\nWORKDIR /elsewhere\n")),
        context: Some(context.path().to_owned()),
        ..spec(&base)
    };
    let (built, lines) = build(&images, &spec).await;
    let built = built.unwrap_or_else(|error| panic!("{error}: {lines:?}"));
    assert_eq!(read(&built, "data"), "from the context");
    assert_eq!(built.config.workdir.as_deref(), Some("/elsewhere"));
    assert_eq!(built.config.user.as_deref(), Some("7:8"), "no step needed root");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_says_what_it_wrote() {
    let (server, base) = base().await;
    let (_directory, images) = cache(settings(&[&server.host])).await;
    let failing = BuildSpec { steps: vec![shell("echo the reason >&2; exit 7")], ..spec(&base) };
    let (built, _) = build(&images, &failing).await;
    let error = built.unwrap_err();
    assert!(matches!(&error, RootfsError::Build { .. }), "{error:?}");
    assert!(error.to_string().contains("the reason\n"), "{error}");
    assert!(error.to_string().contains("exit status 7"), "{error}");

    let python = BuildSpec { python: "python3.12".to_owned(), ..spec(&base) };
    let error = build(&images, &python).await.0.unwrap_err();
    assert!(error.to_string().contains("`python3.12 --version`"), "{error}");
    assert!(error.hint().unwrap().contains("python_version="));
    build(&images, &BuildSpec { ignore_python: true, ..python }).await.0.unwrap();

    let steps = vec![Step::Micromamba(vec!["numpy".to_owned()])];
    let error = build(&images, &BuildSpec { steps, ..spec(&base) }).await.0.unwrap_err();
    assert!(matches!(error, RootfsError::NoMicromamba), "{error:?}");

    // Images come from registries only, whatever a Dockerfile says: others are not even seen.
    let prefix = format!("metal9-layout-{}", std::process::id());
    // Names of images have lower-case letters only.
    let here = tempfile::Builder::new().prefix(&prefix).rand_bytes(0).tempdir().unwrap();
    image(&[layer(&[("f", b"1")])]).layout(here.path());
    let dockerfile = Some(format!("FROM oci:{}\n", here.path().display()));
    let local = BuildSpec { base: None, dockerfile, ignore_python: true, ..spec(&base) };
    let error = build(&images, &local).await.0.unwrap_err();
    assert!(error.to_string().contains("no such file"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_without_a_network_have_none() {
    let (server, base) = base().await;
    let (_directory, images) = cache(settings(&[&server.host])).await;
    // The registry listens in the network of this machine.
    let port: u16 = server.host.rsplit(':').next().unwrap().parse().unwrap();
    let listens = format!("0100007F:{port:04X} ");
    let sees_it = |image: &Image| read(image, "sockets").contains(&listens);
    let step = |what: &str| vec![shell(&format!("cat /proc/net/tcp > /sockets # {what}"))];
    let without = BuildSpec { steps: step("without"), ..spec(&base) };
    assert!(!sees_it(&build(&images, &without).await.0.unwrap()));
    let with = BuildSpec { steps: step("with"), network: true, ..spec(&base) };
    assert!(sees_it(&build(&images, &with).await.0.unwrap()));

    let namespace = Namespace::make();
    let own = Some(namespace.0.path().to_owned());
    let elsewhere = BuildOptions { network_namespace: own, ..options() };
    let with = BuildSpec { steps: step("elsewhere"), network: true, ..spec(&base) };
    let built = builder().build(&images, &with, &elsewhere, |_: &str| ()).await.unwrap();
    assert!(!sees_it(&built));
}

/// A network namespace with nothing in it, mounted at a file.
struct Namespace(tempfile::NamedTempFile);

impl Namespace {
    fn make() -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        let net = format!("--net={}", file.path().display());
        let made = Command::new("unshare").args([&net, "true"]).status().unwrap();
        assert!(made.success());
        Self(file)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        nix::mount::umount(self.0.path()).unwrap();
    }
}

/// Whether a process of this machine has this word in its command line.
fn is_running(word: &str) -> bool {
    fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(word)
    })
}

async fn until(condition: impl Fn() -> bool) {
    let holds = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), holds).await.expect("it did not come to that");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_is_given_up_leaves_no_process() {
    let (server, base) = base().await;
    let (directory, images) = cache(settings(&[&server.host])).await;
    let step = |word: &str| {
        vec![shell(&format!("echo started-$((40 + 2)); /bin/sh -c 'sleep 600; true' {word}"))]
    };
    // Dropped.
    let word = format!("given-up-{}", std::process::id());
    let spec = BuildSpec { steps: step(&word), ..spec(&base) };
    let (sender, mut started) = tokio::sync::mpsc::channel(1);
    let log = move |line: &str| {
        if line == "started-42" {
            sender.try_send(()).unwrap();
        }
    };
    let builder = builder();
    let options = options();
    let running = builder.build(&images, &spec, &options, log);
    let seen = async {
        started.recv().await.unwrap();
        // While one program takes the place of another, it has no command line.
        until(|| is_running(&word)).await;
    };
    tokio::select! {
        built = running => panic!("it ended: {built:?}"),
        () = seen => {}
    }
    until(|| !is_running(&word)).await;

    // Too late.
    let word = format!("too-late-{}", std::process::id());
    let spec = BuildSpec { steps: step(&word), ..spec.clone() };
    let options = BuildOptions { timeout: Duration::from_secs(3), ..options };
    let error = builder.build(&images, &spec, &options, |_: &str| ()).await.unwrap_err();
    assert!(matches!(&error, RootfsError::BuildTimeout { seconds: 3, .. }), "{error:?}");
    until(|| !is_running(&word)).await;

    // And nothing else: the next build works, and buildah's storage can be emptied.
    let spec = BuildSpec { steps: vec![shell("echo fine > /said")], ..spec };
    let built = build(&images, &spec).await.0.unwrap();
    assert_eq!(read(&built, "said"), "fine\n");
    let cache = directory.path().canonicalize().unwrap();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(cache.to_str().unwrap()), "{mounts}");
    assert!(
        fs::read_dir("/sys/fs/cgroup").unwrap().flatten().all(|entry| no_cgroup(&entry.path()))
    );
}

fn no_cgroup(root: &Path) -> bool {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    // Those of builds of other tests are in use.
    !entries.map(|entry| entry.path()).any(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with("buildah-buildah")
    })
}
