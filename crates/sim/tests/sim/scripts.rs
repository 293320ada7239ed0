//! Every script in `tests/scripts` says what its golden file says.

use std::path::{Path, PathBuf};
use std::time::Duration;

use metal9_sim::script::Script;
use metal9_sim::{Options, World};

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// What a script says, and whether a rule was broken.
fn told(text: &str) -> String {
    let script: Script = text.parse().expect("a script");
    let options =
        Options { trace: true, patience: Duration::from_secs(7200), ..Options::default() };
    let mut world = World::new(options);
    let result = world.run(&script);
    let mut told = world.lines().join("\n") + "\n";
    if let Err(violation) = result {
        told = format!("{told}VIOLATION {violation}\n");
    }
    told
}

#[test]
#[expect(clippy::disallowed_methods, reason = "reads and writes golden files")]
fn scripts_say_what_they_should() {
    let update = std::env::var("METAL9_UPDATE_GOLDEN").is_ok();
    let mut scripts: Vec<PathBuf> = std::fs::read_dir(tests().join("scripts"))
        .expect("the scripts")
        .map(|entry| entry.expect("a script").path())
        .collect();
    scripts.sort();
    assert!(scripts.len() >= 15, "{scripts:?}");
    let mut wrong = Vec::new();
    for path in scripts {
        let name = path.file_name().expect("a file").to_owned();
        let told = told(&std::fs::read_to_string(&path).expect("a script"));
        let golden = tests().join("golden").join(&name);
        if update {
            std::fs::write(&golden, &told).expect("a golden file is written");
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        if told != expected || told.contains("VIOLATION") {
            println!("--- {} says\n{told}--- and should say\n{expected}", name.display());
            wrong.push(name);
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}; METAL9_UPDATE_GOLDEN=1 writes them anew");
}
