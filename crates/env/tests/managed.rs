//! Pythons that are installed for environments, by a real uv.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "this file is a test as a whole"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use metal9_env::{EnvError, Environments, Options};
use metal9_types::{EnvLock, ImageSpec, Platform};

/// A root with a uv in it.
async fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("env");
    Environments::open(options(&root, None)).await.unwrap();
    root
}

fn options(root: &Path, uv: Option<PathBuf>) -> Options {
    let runner_dir = root.join("runner");
    Options { root: root.to_owned(), uv, python: None, install_pythons: false, runner_dir }
}

/// The uv of the search path, or the one that was fetched.
async fn real_uv() -> PathBuf {
    let fetched = fs::read_dir(root().await.join("tools")).unwrap();
    let mut programs = fetched.map(|entry| entry.unwrap().path().join("bin/uv"));
    programs.find(|path| path.exists()).unwrap_or_else(|| "uv".into())
}

#[tokio::test]
async fn a_python_that_nobody_has_is_an_error_that_says_what_to_do() {
    let place = tempfile::tempdir().unwrap();
    let options = Options { install_pythons: true, ..options(place.path(), Some(real_uv().await)) };
    let environments = Environments::open(options).await.unwrap();
    let spec = ImageSpec { python_version: "python3.99".into(), ..ImageSpec::default() };
    let error = environments.lock(&spec, &(Arc::new(|_: &str| ()) as _)).await.unwrap_err();
    assert!(matches!(&error, EnvError::PythonInstall { version, .. } if version == "3.99"));
    assert!(error.hint().unwrap().contains("`uv python install 3.99`"), "{error}");
    assert!(!error.is_final(), "another time it may be reached");
}

#[tokio::test]
async fn a_machine_without_a_python_installs_one_and_makes_environments_with_it() {
    let code = "import os, sys; print(os.path.realpath(sys.executable))\n\
                print('%d.%d' % sys.version_info[:2])";
    let said = Command::new("python3").args(["-I", "-c", code]).output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    let (python, version) = said.trim().split_once('\n').unwrap();
    let place = tempfile::tempdir().unwrap();
    let state = place.path().join("state");
    let uv =
        bare_uv(place.path(), &state, &release(place.path(), python, version), &real_uv().await);

    let lacking = Environments::open(options(&state, Some(uv.clone()))).await.unwrap();
    assert!(lacking.pythons().is_empty());
    let options = Options {
        install_pythons: true,
        python: Some(version.to_owned()),
        ..options(&state, Some(uv))
    };
    let environments = Environments::open(options).await.unwrap();
    let lock = EnvLock {
        platform: Platform::current().unwrap(),
        python: version.to_owned(),
        requirements: String::new(),
        macos: None,
        root: None,
    };
    assert!(environments.has_python(&lock));
    let built = environments.ensure(&lock, &(Arc::new(|_: &str| ()) as _)).await.unwrap();
    assert_eq!(environments.pythons(), [version]);
    let home = fs::read_to_string(built.dir.join("pyvenv.cfg")).unwrap();
    let ours = state.join("pythons").display().to_string();
    assert!(home.lines().any(|line| line.starts_with("home =") && line.contains(&ours)), "{home}");
}

/// A uv for which this machine has no Python, and which finds a release of one in a file.
fn bare_uv(place: &Path, state: &Path, list: &Path, real: &Path) -> PathBuf {
    let script = place.join("uv");
    let text = format!(
        "#!/bin/sh\n\
         export UV_PYTHON_DOWNLOADS_JSON_URL='{list}' UV_PYTHON_INSTALL_DIR='{place}/none'\n\
         if [ \"$1 $2\" = 'python list' ]; then\n\
             PATH=$(printf '%s:' '{state}'/pythons/*/bin)/nowhere\n\
         fi\n\
         exec '{real}' \"$@\"\n",
        list = list.display(),
        place = place.display(),
        state = state.display(),
        real = real.display(),
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    script
}

/// A Python as a release, and the list that names it.
fn release(place: &Path, python: &str, version: &str) -> PathBuf {
    let bin = place.join("python/bin");
    fs::create_dir_all(&bin).unwrap();
    let library = place.join(format!("python/lib/python{version}"));
    fs::create_dir_all(&library).unwrap();
    // uv writes into it where things are now.
    let text =
        "# system configuration generated and used by the sysconfig module\nbuild_time_vars = {}\n";
    fs::write(library.join("_sysconfigdata__linux_.py"), text).unwrap();
    fs::copy(python, bin.join(format!("python{version}"))).unwrap();
    let archive = place.join("python.tar.gz");
    let mut tar = Command::new("tar");
    tar.arg("-czf").arg(&archive).arg("-C").arg(place).arg("python");
    assert!(tar.status().unwrap().success());
    let (arch, minor) = (std::env::consts::ARCH, version.split_once('.').unwrap().1);
    let list = format!(
        r#"{{"cpython-{version}.0-linux-{arch}-gnu": {{
            "name": "cpython", "arch": {{"family": "{arch}", "variant": null}},
            "os": "linux", "libc": "gnu", "major": 3, "minor": {minor}, "patch": 0,
            "prerelease": "", "url": "file://{archive}", "sha256": null, "variant": null,
            "build": null}}}}"#,
        archive = archive.display(),
    );
    let path = place.join("list.json");
    fs::write(&path, list).unwrap();
    path
}
