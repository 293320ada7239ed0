use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;

/// A machine that has every device node.
#[expect(clippy::unnecessary_wraps, reason = "other machines lack some")]
fn every(_path: &Path) -> Option<Node> {
    Some(Node { kind: 'c', major: 195, minor: 7, mode: 0o666 })
}

fn made(files: &[(&str, &str)]) -> (TempDir, Registry) {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let directories = ["etc", "run"].map(|name| root.path().join(name));
    let registry = Registry::read(&directories);
    (root, registry)
}

fn edits(registry: &Registry, names: &[&str]) -> Result<Edits, CdiError> {
    registry.edits(&names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>(), &every)
}

fn with(version: &str, edits: &str) -> String {
    format!(
        r#"{{"cdiVersion": "{version}", "kind": "a.com/b", "devices": [{{"name": "0", "containerEdits": {{{edits}}}}}]}}"#
    )
}

#[test]
fn json_and_yaml_of_every_version_of_use_are_read() {
    for version in ["0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0"] {
        let text = with(version, r#""env": ["A=1"]"#);
        for name in ["etc/x.json", "run/x.yaml", "run/x.yml"] {
            let (_root, registry) = made(&[(name, &text)]);
            let edits = edits(&registry, &["a.com/b=0"]).unwrap();
            assert_eq!(edits.env, [("A".to_owned(), "1".to_owned())], "{version} {name}");
        }
    }
}

#[test]
fn a_later_directory_goes_first_and_one_alone_contradicts_itself() {
    let (first, second) = (with("0.5.0", r#""env": ["A=1"]"#), with("0.5.0", r#""env": ["A=2"]"#));
    let (_root, both) = made(&[("etc/a.json", &first), ("run/a.json", &second)]);
    assert_eq!(edits(&both, &["a.com/b=0"]).unwrap().env[0].1, "2");
    let (_root, twice) = made(&[("etc/a.json", &first), ("etc/b.json", &second)]);
    let told = edits(&twice, &["a.com/b=0"]).unwrap_err().to_string();
    assert!(told.contains("etc/a.json` and") && told.ends_with("both name `a.com/b=0`"), "{told}");
}

#[test]
fn who_is_not_named_is_told_where_was_looked_and_what_could_not_be_read() {
    let (_root, registry) = made(&[
        ("etc/bad.yaml", "cdiVersion: [\n"),
        ("etc/new.json", &with("9.0.0", "")),
        ("etc/notes.txt", "nothing"),
    ]);
    let told = edits(&registry, &["a.com/b=0"]).unwrap_err().to_string();
    for part in ["/etc` or `", "names `a.com/b=0`", "bad.yaml`: ", "version `9.0.0` of the format"]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("notes.txt") && !told.contains('\n'), "{told}");
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    let cases = [
        (r#""env": ["nonsense"]"#, "`nonsense` is no variable"),
        (r#""hooks": [{"hookName": "later", "path": "/x"}]"#, "no hooks `later`"),
        (r#""deviceNodes": [{"path": "/dev/x", "type": "z"}]"#, "`z` is no type"),
        (r#""intelRdt": {"closID": "x"}"#, "`intelRdt`"),
    ];
    for (text, expected) in cases {
        let (_root, registry) = made(&[("etc/a.json", &with("0.7.0", text))]);
        let told = edits(&registry, &["a.com/b=0"]).unwrap_err().to_string();
        assert!(told.starts_with("what is said of `a.com/b=0` cannot be done"), "{told}");
        assert!(told.contains(expected), "{told}");
    }
}

#[test]
fn a_node_that_is_not_there_is_told() {
    let text = with("0.5.0", r#""deviceNodes": [{"path": "/dev/x", "hostPath": "/dev/y"}]"#);
    let (_root, registry) = made(&[("etc/a.json", &text)]);
    let refused = registry.edits(&["a.com/b=0".to_owned()], &|_| None).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "`a.com/b=0` needs `/dev/y`, which is no device on this machine"
    );
}

#[test]
fn what_all_devices_of_a_file_need_is_there_once() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cdi/fixtures/two");
    let registry = Registry::read(&[directory]);
    let both = edits(&registry, &["nvidia.com/gpu=0", "nvidia.com/gpu=1"]).unwrap();
    let nodes: Vec<PathBuf> = both.nodes.iter().map(|node| node.source.clone()).collect();
    let expected = [
        "nvidia-uvm",
        "nvidia-uvm-tools",
        "nvidiactl",
        "nvidia0",
        "dri/renderD128",
        "nvidia1",
        "dri/renderD129",
    ];
    assert_eq!(nodes, expected.map(|name| Path::new("/dev").join(name)));
    assert_eq!((both.hooks.len(), both.mounts.len(), both.nvidia), (2, 6, true));
    assert_eq!(both, edits(&registry, &["nvidia.com/gpu=0", "nvidia.com/gpu=1"]).unwrap());
    let all = edits(&registry, &["nvidia.com/gpu=all"]).unwrap();
    assert_eq!(all, both);
}

#[cfg(target_os = "linux")]
#[test]
fn nodes_of_the_machine_are_read() {
    let null = node(Path::new("/dev/null")).unwrap();
    assert_eq!((null.kind, null.major, null.minor), ('c', 1, 3));
    assert_eq!(node(Path::new("/dev/nobody")), None);
    assert_eq!(node(Path::new("/")), None);
}
