use super::*;
use crate::isolation::{Access, FileRule, Isolation, Means, Network};
use crate::launch::Limits;
use crate::oci::{Engine, OciRuntime};

fn container(engine: Engine, users: Option<UserRange>) -> Container {
    let name = engine.name();
    Container {
        runtime: OciRuntime {
            engine,
            program: format!("/usr/sbin/{name}").into(),
            version: "1".into(),
        },
        id: "metal9-7".into(),
        directory: "/state/containers/7.oci".into(),
        users,
        network: None,
        layers: Vec::new(),
    }
}

fn launch() -> Launch {
    let files = vec![
        FileRule::new("/bin", Access::Link("usr/bin".into())),
        FileRule::new("/dev/null", Access::Device),
        FileRule::new("/etc/passwd", Access::Read),
        FileRule::new("/etc/ssl/certs", Access::Read),
        FileRule::new("/etc/gone", Access::Read),
        FileRule::new("/proc", Access::Read),
        FileRule::new("/state/containers/7", Access::Write),
        FileRule::new("/state/env/1", Access::Execute),
        FileRule {
            path: "/tmp".into(),
            source: "/state/containers/7/tmp".into(),
            access: Access::Write,
        },
        FileRule::new("/usr", Access::Execute),
        FileRule::new("/usr/secret", Access::Hidden),
        FileRule::new("/var/tmp", Access::Link("/tmp".into())),
    ];
    Launch {
        program: "/state/env/1/bin/python".into(),
        args: vec!["-s".into(), "main.py".into()],
        env: vec![("HOME".into(), "/state/containers/7/home".into())],
        cwd: "/state/containers/7/code".into(),
        limits: Limits { open_files: Some(1024), ..Limits::default() },
        group: None,
        account: None,
        isolation: Some(Isolation {
            means: Means::default(),
            files,
            network: Network::None,
            gpu: false,
        }),
        container: None,
    }
}

fn kind(path: &Path) -> Kind {
    match path.to_str().unwrap() {
        "/etc/passwd" => Kind::File,
        "/etc/gone" => Kind::Missing,
        _ => Kind::Directory,
    }
}

fn described(engine: Engine, users: Option<UserRange>) -> Description {
    let root = Path::new("/mnt/root");
    let mut described =
        describe(&launch(), &container(engine, users), root, 3, 20_000, &kind).unwrap();
    if engine != Engine::Runsc {
        // Tested by itself, and two hundred lines long.
        let mut linux = described.spec.linux().clone().unwrap();
        assert!(linux.seccomp().is_some());
        linux.set_seccomp(None);
        described.spec.set_linux(Some(linux));
    }
    described
}

/// Compares with a file beside this one; `METAL9_UPDATE_GOLDEN` writes it instead.
fn compare(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/oci/spec").join(name);
    if std::env::var_os("METAL9_UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, format!("{text}\n")).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap().trim_end(), text);
}

#[test]
fn a_container_of_runc_is_described_like_this() {
    let users = Some(UserRange { first: 1_295_581_184, count: 65_536 });
    let text = serde_json::to_string_pretty(&described(Engine::Runc, users).spec).unwrap();
    compare("runc.json", &text);
}

#[test]
fn a_container_of_gvisor_is_described_like_this() {
    let text = serde_json::to_string_pretty(&described(Engine::Runsc, None).spec).unwrap();
    compare("runsc.json", &text);
}

#[test]
fn the_root_has_what_is_no_mount() {
    let RootFiles { directories, links, copies } = described(Engine::Runc, None).root;
    assert!(directories.contains(&PathBuf::from("/home")));
    let of = |path: &str, target: &str| (PathBuf::from(path), PathBuf::from(target));
    assert_eq!(links, [of("/bin", "usr/bin"), of("/var/tmp", "/tmp")]);
    assert_eq!(copies, [of("/etc/passwd", "/etc/passwd")]);
}

#[test]
fn more_open_files_than_there_are_cannot_be_had() {
    let container = container(Engine::Runc, None);
    let described = describe(&launch(), &container, Path::new("/mnt/root"), 3, 64, &kind).unwrap();
    let process = described.spec.process().as_ref().unwrap();
    assert_eq!(process.rlimits().as_ref().unwrap()[0].hard(), 64);
}

#[test]
fn an_argument_that_is_no_text_is_refused() {
    use std::os::unix::ffi::OsStringExt;
    let launch = Launch { args: vec![OsString::from_vec(vec![0xff])], ..launch() };
    let container = container(Engine::Runc, None);
    let refused = describe(&launch, &container, Path::new("/mnt/root"), 3, 64, &kind);
    assert!(matches!(refused, Err(SpecError::NoText(_))));
}
