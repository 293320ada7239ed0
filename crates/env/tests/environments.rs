//! Real environments, made by a real uv from PyPI.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "this file is a test as a whole"
)]

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use metal9_env::{EnvError, Environment, Environments, Options, Progress};
use metal9_types::{EnvLock, ImageSpec, Platform, Target};
use tempfile::TempDir;
use tokio::sync::OnceCell;

const SIX_16: &str = "six==1.16.0 \\\n    \
    --hash=sha256:8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254\n";
const SIX_17: &str = "six==1.17.0 \\\n    \
    --hash=sha256:4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274\n";

/// Lines a listener heard.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    fn progress(&self) -> Progress {
        let lines = Arc::clone(&self.0);
        Arc::new(move |line| lines.lock().unwrap().push(line.to_owned()))
    }

    fn count(&self, beginning: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|line| line.starts_with(beginning)).count()
    }

    fn text(&self) -> String {
        self.0.lock().unwrap().concat()
    }
}

fn silent() -> Progress {
    Arc::new(|_| ())
}

/// Environments that are only resolved in, never built; kept between runs.
async fn shared() -> Environments {
    static SHARED: OnceCell<Environments> = OnceCell::const_new();
    let open = || async { Environments::open(options(&shared_root(), None)).await.unwrap() };
    SHARED.get_or_init(open).await.clone()
}

fn shared_root() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("env")
}

/// The uv that was installed for the tests; nothing if the machine has one.
async fn installed_uv() -> Option<PathBuf> {
    shared().await;
    std::fs::read_dir(shared_root().join("tools"))
        .unwrap()
        .map(|entry| entry.unwrap().path().join("bin/uv"))
        .find(|path| path.exists())
}

fn options(root: &Path, uv: Option<PathBuf>) -> Options {
    let runner_dir = root.join("runner");
    Options { root: root.to_owned(), uv, python: None, install_pythons: false, runner_dir }
}

async fn open(root: &TempDir) -> Environments {
    Environments::open(options(root.path(), installed_uv().await)).await.unwrap()
}

/// A root and environments in it.
async fn fresh() -> (TempDir, Environments) {
    let root = tempfile::tempdir().unwrap();
    let environments = open(&root).await;
    (root, environments)
}

/// The SDK's requirement and its version.
fn sdk() -> (&'static str, &'static str) {
    let requirement = include_str!("../../../python/sdk.txt").trim();
    (requirement, requirement.strip_prefix("beta9==").unwrap())
}

fn spec(packages: &[&str]) -> ImageSpec {
    ImageSpec {
        python_version: "python3".into(),
        python_packages: packages.iter().map(|line| (*line).to_owned()).collect(),
        sdk_version: sdk().1.into(),
        ..ImageSpec::default()
    }
}

/// A lock of a few packages, which builds faster than one with the SDK.
fn small_lock(environments: &Environments, requirements: &str) -> EnvLock {
    EnvLock {
        platform: Platform::current().unwrap(),
        python: environments.pythons().last().unwrap().clone(),
        requirements: requirements.to_owned(),
        macos: None,
        root: None,
    }
}

async fn python(environment: &Environment, code: &str) -> String {
    let output = tokio::process::Command::new(&environment.python)
        .args(["-I", "-c", code])
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn an_image_becomes_the_same_lock_twice_and_an_environment_with_the_sdk() {
    let (_root, environments) = fresh().await;
    let heard = Heard::default();
    let spec = spec(&["six==1.16.0"]);
    let lock = environments.lock(&spec, &heard.progress()).await.unwrap();
    let again = environments.lock(&spec, &silent()).await.unwrap();
    assert_eq!(lock, again);
    assert_eq!(heard.count("Resolved "), 1, "{}", heard.text());
    assert!(lock.requirements.contains("six==1.16.0 \\\n    --hash=sha256:"), "{lock:?}");
    assert!(lock.requirements.contains(&format!("{} \\\n", sdk().0)), "{lock:?}");
    assert!(!lock.requirements.contains('#'), "{lock:?}");

    let environment = environments.ensure(&lock, &heard.progress()).await.unwrap();
    let code = "import beta9, six, sys; print(six.__version__, sys.prefix)";
    let wanted = format!("1.16.0 {}", environment.dir.display());
    assert_eq!(python(&environment, code).await, wanted);
    assert_eq!(heard.count("Installed "), 1, "{}", heard.text());
    assert!(heard.text().ends_with('\n'));
    assert_eq!(environments.cached(), [lock.hash()]);
}

#[tokio::test]
async fn many_who_want_one_environment_get_it_built_once() {
    let (root, here) = fresh().await;
    // As another process would be: nothing is shared but the disk.
    let there = open(&root).await;
    let lock = small_lock(&here, SIX_16);
    let (heard_here, heard_there) = (Heard::default(), Heard::default());
    let (progress_here, progress_there) = (heard_here.progress(), heard_there.progress());
    let (a, b, c, d) = tokio::join!(
        here.ensure(&lock, &progress_here),
        here.ensure(&lock, &progress_here),
        there.ensure(&lock, &progress_there),
        there.ensure(&lock, &progress_there),
    );
    let all = [a.unwrap(), b.unwrap(), c.unwrap(), d.unwrap()];
    assert!(all.iter().all(|one| *one == all[0]));
    // Both of a side hear its build, and only one side builds.
    let mut builds = [heard_here.count("Installed "), heard_there.count("Installed ")];
    builds.sort_unstable();
    assert_eq!(builds, [0, 2], "{}\n---\n{}", heard_here.text(), heard_there.text());
    assert_eq!(heard_here.count("waiting for another build"), 1);
}

#[tokio::test]
async fn what_a_killed_build_has_left_is_repaired() {
    let (root, environments) = fresh().await;
    let lock = small_lock(&environments, SIX_16);
    let left = root.path().join("envs").join(lock.hash());
    let junk = left.join("lib/half-written.py");
    let make = || {
        std::fs::create_dir_all(left.join("bin")).unwrap();
        std::fs::create_dir_all(junk.parent().unwrap()).unwrap();
        std::fs::write(&junk, "x = ").unwrap();
        std::fs::write(left.join("bin/python"), "").unwrap();
    };
    make();
    let environment = environments.ensure(&lock, &silent()).await.unwrap();
    assert!(!junk.exists());
    assert_eq!(python(&environment, "import six; print(six.__version__)").await, "1.16.0");

    // Whoever used it is gone too.
    drop(environment);
    std::fs::remove_dir_all(&left).unwrap();
    make();
    let reopened = open(&root).await;
    assert!(!left.exists());
    assert!(reopened.cached().is_empty());
}

#[tokio::test]
async fn a_build_that_is_given_up_can_be_begun_again() {
    let (_root, environments) = fresh().await;
    let lock = small_lock(&environments, SIX_16);
    let (sender, mut begun) = tokio::sync::mpsc::channel(64);
    let progress: Progress = Arc::new(move |line| sender.try_send(line.to_owned()).unwrap());
    {
        let mut building = Box::pin(environments.ensure(&lock, &progress));
        tokio::select! {
            _ = &mut building => panic!("ended before it was given up"),
            _ = begun.recv() => {}
        }
    }
    assert!(environments.cached().is_empty());
    let environment = environments.ensure(&lock, &silent()).await.unwrap();
    assert_eq!(python(&environment, "import six; print(six.__version__)").await, "1.16.0");
}

#[tokio::test]
async fn different_locks_are_different_environments() {
    let (_root, environments) = fresh().await;
    let (old, new) = (small_lock(&environments, SIX_16), small_lock(&environments, SIX_17));
    let progress = silent();
    let (old, new) =
        tokio::join!(environments.ensure(&old, &progress), environments.ensure(&new, &progress));
    let code = "import six; print(six.__version__)";
    assert_eq!(python(&old.unwrap(), code).await, "1.16.0");
    assert_eq!(python(&new.unwrap(), code).await, "1.17.0");
    assert_eq!(environments.cached().len(), 2);
}

#[tokio::test]
async fn a_wrong_hash_is_an_error_that_leaves_nothing_and_is_tried_anew_when_asked_again() {
    let (root, environments) = fresh().await;
    let lock = small_lock(&environments, &SIX_16.replace("8abb2f1d", "00000000"));
    let heard = Heard::default();
    for _ in 0..2 {
        let error = environments.ensure(&lock, &heard.progress()).await.unwrap_err();
        assert!(matches!(error, EnvError::Build { .. }), "{error}");
        assert!(error.to_string().contains("six==1.16.0"), "{error}");
        assert!(error.to_string().to_lowercase().contains("hash mismatch"), "{error}");
        assert!(!root.path().join("envs").join(lock.hash()).exists());
    }
    assert_eq!(heard.count("building "), 2, "{}", heard.text());
}

#[tokio::test]
async fn a_ready_environment_is_there_at_once_without_uv() {
    let root = tempfile::tempdir().unwrap();
    let runner = root.path().join("runner");
    std::fs::create_dir(&runner).unwrap();
    std::fs::write(runner.join("runner.py"), "x = 1\n").unwrap();
    let environments = open(&root).await;
    let lock = small_lock(&environments, SIX_16);
    let built = environments.ensure(&lock, &silent()).await.unwrap();
    let cpython = lock.python.replace('.', "");
    assert!(runner.join(format!("__pycache__/runner.cpython-{cpython}.pyc")).exists());

    let marker = built.dir.join(".complete");
    let long_ago = SystemTime::now() - Duration::from_secs(86_400);
    std::fs::set_permissions(&marker, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let file = std::fs::File::options().write(true).open(&marker).unwrap();
    file.set_modified(long_ago).unwrap();
    // uv's cache is gone, so that nothing could be built again.
    std::fs::remove_dir_all(root.path().join("uv-cache")).unwrap();
    let heard = Heard::default();
    assert_eq!(environments.ensure(&lock, &heard.progress()).await.unwrap(), built);
    assert_eq!(heard.text(), "");
    let used = std::fs::metadata(&marker).unwrap().modified().unwrap();
    assert!(used > long_ago + Duration::from_secs(3600));
}

#[tokio::test]
async fn packages_that_cannot_be_had_are_named_in_uvs_own_words() {
    let environments = shared().await;
    for (packages, named) in [
        (&["no-such-package-metal9-qq"][..], "no-such-package-metal9-qq"),
        (&["six==1.16.0", "six==1.17.0"][..], "six==1.17.0"),
        (&["beta9==0.1.200"][..], sdk().0),
    ] {
        let heard = Heard::default();
        let error = environments.lock(&spec(packages), &heard.progress()).await.unwrap_err();
        assert!(matches!(error, EnvError::Unresolvable { .. }), "{error}");
        assert!(error.to_string().contains(named), "{error}");
        assert!(!heard.text().contains("error:"), "{}", heard.text());
    }
}

#[tokio::test]
async fn an_index_that_cannot_be_reached_is_told_with_a_hint() {
    let environments = shared().await;
    let spec = spec(&["--index-url http://127.0.0.1:9/simple", "six"]);
    let error = environments.lock(&spec, &silent()).await.unwrap_err();
    assert!(matches!(error, EnvError::Offline { .. }), "{error}");
    assert!(error.to_string().contains("127.0.0.1:9"), "{error}");
    assert!(error.hint().is_some());
}

#[tokio::test]
async fn what_this_machine_cannot_give_is_refused_by_name() {
    let environments = shared().await;
    let mut wanted = spec(&[]);
    wanted.python_version = "python3.99".into();
    let error = environments.lock(&wanted, &silent()).await.unwrap_err();
    assert!(matches!(error, EnvError::PythonMissing { .. }), "{error}");
    assert!(error.to_string().contains("3.99"), "{error}");
    assert!(error.to_string().contains(&environments.pythons()[0]), "{error}");

    let mut lock = small_lock(&environments, SIX_16);
    lock.python = "3.99".into();
    let error = environments.ensure(&lock, &silent()).await.unwrap_err();
    assert!(matches!(error, EnvError::PythonMissing { .. }), "{error}");

    let mut lock = small_lock(&environments, SIX_16);
    lock.platform = match lock.platform {
        Platform::Aarch64Darwin => Platform::X86_64Linux,
        _ => Platform::Aarch64Darwin,
    };
    let error = environments.ensure(&lock, &silent()).await.unwrap_err();
    assert!(matches!(error, EnvError::WrongPlatform { .. }), "{error}");

    let mut wanted = spec(&["-e ."]);
    wanted.commands.push("apt-get install ffmpeg".into());
    let error = environments.lock(&wanted, &silent()).await.unwrap_err();
    let EnvError::Refused(refusals) = error else { panic!("{error}") };
    assert_eq!(refusals.len(), 2);
}

fn mac(macos: &str) -> Target {
    Target::mac(macos.parse().unwrap())
}

/// The version of a package in a lock.
fn version(lock: &EnvLock, package: &str) -> String {
    let start = format!("{package}==");
    let line = lock.requirements.lines().find(|line| line.starts_with(&start)).unwrap();
    line[start.len()..].split([' ', ';']).next().unwrap().to_owned()
}

#[tokio::test]
async fn an_image_is_resolved_for_macs_by_their_oldest_macos() {
    let environments = shared().await;
    let spec = ImageSpec { python_version: "python3.12".into(), ..spec(&["six", "mlx"]) };
    let lock = async |macos| environments.lock_for(&spec, mac(macos), &silent()).await.unwrap();
    let (old, new) = (lock("13.0").await, lock("14.0").await);
    assert_eq!((new.platform, new.python.as_str()), (Platform::Aarch64Darwin, "3.12"));
    assert_eq!(new.macos, Some("14.0".parse().unwrap()));
    assert!(new.is_hashed() && new.requirements.contains("\nsix=="), "{new:?}");
    // A release that a Mac on 14 can have needs a newer system than 13.
    assert_ne!(version(&old, "mlx"), version(&new, "mlx"));
}

#[tokio::test]
async fn a_package_without_a_wheel_for_macs_is_named_before_anything_is_built() {
    let environments = shared().await;
    let spec = spec(&["nvidia-nvtx-cu12"]);
    let error = environments.lock_for(&spec, mac("14.0"), &silent()).await.unwrap_err();
    assert!(matches!(error, EnvError::UnresolvableThere { .. }) && error.is_final(), "{error}");
    let text = error.to_string();
    assert!(text.contains("aarch64-apple-darwin (macOS 14.0 and later)"), "{text}");
    let reason = error.reason();
    assert!(reason.contains("nvidia-nvtx-cu12") && reason.contains("wheels"), "{reason}");
    assert!(reason.contains("macosx_14_0_arm64") && !reason.contains('\n'), "{reason}");
    environments.lock_for(&spec, Platform::X86_64Linux.into(), &silent()).await.unwrap();
}

#[tokio::test]
async fn markers_give_each_platform_its_own_packages() {
    let environments = shared().await;
    let spec = spec(&["mlx[cpu]"]);
    let resolve = async |target| environments.lock_for(&spec, target, &silent()).await.unwrap();
    let (on_mac, on_linux) =
        (resolve(mac("14.0")).await, resolve(Platform::X86_64Linux.into()).await);
    let has = |lock: &EnvLock, package: &str| lock.requirements.contains(&format!("\n{package}=="));
    assert!(has(&on_mac, "mlx-metal") && !has(&on_mac, "mlx-cpu"), "{on_mac:?}");
    assert!(has(&on_linux, "mlx-cpu") && !has(&on_linux, "mlx-metal"), "{on_linux:?}");
}

#[tokio::test]
async fn torch_brings_its_cuda_libraries_to_linux_and_none_to_a_mac() {
    let environments = shared().await;
    let spec = ImageSpec { python_version: "python3.12".into(), ..spec(&["torch"]) };
    let resolve = async |target| environments.lock_for(&spec, target, &silent()).await.unwrap();
    let (on_mac, on_linux) =
        (resolve(mac("14.0")).await, resolve(Platform::X86_64Linux.into()).await);
    let of_nvidia = |lock: &EnvLock| {
        lock.requirements.lines().filter(|line| line.starts_with("nvidia-")).count()
    };
    assert!(version(&on_mac, "torch").starts_with('2'), "{on_mac:?}");
    assert!(of_nvidia(&on_linux) > 5, "{on_linux:?}");
    assert_eq!(of_nvidia(&on_mac), 0, "{on_mac:?}");
}

#[tokio::test]
async fn packages_for_roots_are_there_without_their_python_and_stay_there() {
    let (root, environments) = fresh().await;
    for python in ["3.11", "3.13"] {
        let image = spec(&[]).sdk_alone(python);
        let lock = environments.lock_for_roots(&image, &silent()).await.unwrap();
        assert_eq!(lock.python, python);
        let there = environments.packages(&lock, &silent()).await.unwrap();
        assert!(there.python.join("beta9/__init__.py").is_file());
        assert!(!there.dir.join("bin").exists());
        let compiled = there.python.join("beta9/__pycache__").is_dir();
        assert_eq!(compiled, environments.pythons().iter().any(|known| known == python));
        assert!(environments.cached().contains(&lock.hash()));
    }
    let cached = environments.cached();
    drop(environments);
    assert_eq!(open(&root).await.cached(), cached, "what is complete is no leftover");
}

/// Serves a package whose setup writes a file, and gives its address.
fn serve_package(root: &Path, written: &Path) -> String {
    use std::io::{BufRead, BufReader, Write};
    let directory = root.join("evil-1.0");
    std::fs::create_dir_all(&directory).unwrap();
    let setup = format!(
        "open({written:?}, 'w').close()\nfrom setuptools import setup\nsetup(name='evil', version='1.0')\n"
    );
    std::fs::write(directory.join("setup.py"), setup).unwrap();
    let packed = root.join("evil-1.0.tar.gz");
    let mut tar = std::process::Command::new("tar");
    tar.arg("-czf").arg(&packed).arg("-C").arg(root).arg("evil-1.0");
    assert!(tar.status().unwrap().success());
    let bytes = std::fs::read(packed).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(&stream).lines();
            let is_head = lines.next().is_some_and(|line| line.unwrap().starts_with("HEAD"));
            lines.map_while(Result::ok).find(|line| line.is_empty());
            let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length:";
            write!(&stream, "{head} {}\r\n\r\n", bytes.len()).unwrap();
            if !is_head {
                (&stream).write_all(&bytes).unwrap();
            }
        }
    });
    format!("evil @ http://{address}/evil-1.0.tar.gz")
}

#[tokio::test]
async fn where_only_wheels_are_taken_no_package_runs_its_setup() {
    let (root, environments) = fresh().await;
    let written = root.path().join("written");
    let evil = serve_package(root.path(), &written);
    let spec = |package: &str| ImageSpec {
        python_packages: vec![package.to_owned()],
        ..ImageSpec::default()
    };
    environments.take_only_wheels(true);
    // By its address, and by a name of which there is no wheel.
    for (package, name) in [(evil.as_str(), "evil"), ("docopt==0.6.2", "docopt")] {
        let error = environments.lock(&spec(package), &silent()).await.unwrap_err();
        assert!(matches!(error, EnvError::NoWheel { .. }) && error.is_final(), "{error:?}");
        assert!(error.to_string().contains(name), "{error}");
        assert!(error.hint().unwrap().contains("wheel"));
    }
    assert!(!written.exists());
    environments.lock(&spec("six==1.17.0"), &silent()).await.unwrap();
    // A lock of somebody who builds them is not installed.
    environments.take_only_wheels(false);
    let lock = environments.lock(&spec(&evil), &silent()).await.unwrap();
    std::fs::remove_file(&written).expect("elsewhere it is built");
    environments.take_only_wheels(true);
    let error = environments.ensure(&lock, &silent()).await.unwrap_err();
    assert!(matches!(error, EnvError::NoWheel { .. }), "{error:?}");
    assert!(error.to_string().contains("evil") && !written.exists(), "{error}");
}
