use super::*;
use crate::cdi::{Edits, Node, Registry};
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
        edits: Edits::default(),
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

/// The parts of a description that a device adds to.
fn with_gpus(which: &str, names: &[&str], container: Container) -> String {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cdi/fixtures");
    let registry = Registry::read(&[fixtures.join(which)]);
    let names: Vec<String> = names.iter().map(|name| format!("nvidia.com/gpu={name}")).collect();
    let node = |path: &Path| {
        let minor = path.to_string_lossy().len();
        Some(Node { kind: 'c', major: 195, minor: i64::try_from(minor).unwrap(), mode: 0o666 })
    };
    let edits = registry.edits(&names, &node).unwrap();
    let container = Container { edits, ..container };
    let root = Path::new("/mnt/root");
    let spec = describe(&launch(), &container, root, 3, 1024, &kind).unwrap().spec;
    let spec = serde_json::to_value(spec).unwrap();
    let part = serde_json::json!({
        "env": spec["process"]["env"],
        "mounts": spec["mounts"].as_array().unwrap()[5..],
        "devices": spec["linux"]["devices"],
        "allowed": spec["linux"]["resources"]["devices"],
        "hooks": spec["hooks"],
    });
    serde_json::to_string_pretty(&part).unwrap()
}

#[test]
fn a_gpu_comes_to_the_machines_own_files_as_nodes_and_what_they_do_not_show() {
    let users = Some(UserRange { first: 1_295_581_184, count: 65_536 });
    let text = with_gpus("one", &[FIRST], container(Engine::Runc, users));
    compare("gpu.json", &text);
    assert!(!text.contains("libcuda") && !text.contains("nvidia-cdi-hook"));
}

#[test]
fn two_gpus_come_to_an_image_with_the_driver_and_its_hooks() {
    let layers = vec!["/state/layers/1".into()];
    let container = Container { layers, ..container(Engine::Runc, None) };
    compare("gpus-image.json", &with_gpus("two", &[FIRST, "1"], container));
}

const FIRST: &str = "GPU-0b7a2c1e-5d94-4f6b-8a3d-1c2e3f405162";

#[test]
fn a_node_with_another_name_on_the_machine_is_bound_where_users_are_others() {
    let edits = |users| {
        let root = tempfile::tempdir().unwrap();
        let text = r#"{"cdiVersion": "0.5.0", "kind": "a.com/b", "devices": [{"name": "0",
            "containerEdits": {"deviceNodes": [{"path": "/dev/x", "hostPath": "/dev/null"}]}}]}"#;
        std::fs::write(root.path().join("a.json"), text).unwrap();
        let registry = Registry::read(&[root.path().to_owned()]);
        let node = |_: &Path| Some(Node { kind: 'c', major: 1, minor: 3, mode: 0o666 });
        let edits = registry.edits(&["a.com/b=0".to_owned()], &node).unwrap();
        let container = Container { edits, ..container(Engine::Runc, users) };
        let root = Path::new("/mnt/root");
        let spec = describe(&launch(), &container, root, 3, 1024, &kind).unwrap().spec;
        let bound = spec.mounts().as_ref().unwrap().iter().any(|mount| {
            mount.destination() == Path::new("/dev/x")
                && mount.source().as_deref() == Some(Path::new("/dev/null"))
        });
        (bound, spec.linux().as_ref().unwrap().devices().as_ref().map_or(0, Vec::len))
    };
    assert_eq!(edits(Some(UserRange { first: 1_000_000, count: 65_536 })), (true, 0));
    assert_eq!(edits(None), (false, 1));
}
