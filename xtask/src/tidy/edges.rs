//! Which crate may depend on which. The direction of dependencies is the architecture.

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::run;

/// A crate, what it may always use, and what only its tests may use.
///
/// An edge that is missing here is missing on purpose: `core` does no I/O, `store` knows no wire
/// format, the gateway never reaches into the worker.
const EDGES: [(&str, &[&str], &[&str]); 23] = [
    ("metal9-types", &[], &[]),
    ("metal9-archive", &[], &[]),
    ("metal9-removal", &[], &[]),
    ("metal9-volume", &["removal"], &[]),
    ("metal9-tasks", &[], &[]),
    ("metal9-faults", &[], &[]),
    ("metal9-proto", &[], &[]),
    ("metal9-tls", &[], &[]),
    ("metal9-rootfs", &["archive", "env", "removal", "tls"], &["sandbox"]),
    ("metal9-tunnel", &["proto"], &[]),
    ("metal9-service", &[], &[]),
    ("metal9-core", &["types"], &[]),
    ("metal9-sim", &["types", "core"], &[]),
    ("metal9-store", &["types", "tasks", "faults"], &[]),
    ("metal9-device", &["types"], &[]),
    ("metal9-env", &["types", "tasks"], &["testkit"]),
    ("metal9-sandbox", &["types", "tasks"], &["testkit"]),
    ("metal9-juicefs", &["env", "tasks"], &[]),
    (
        "metal9-gateway",
        &[
            "types", "tasks", "faults", "core", "proto", "store", "archive", "tls", "tunnel",
            "volume", "juicefs", "removal",
        ],
        &["testkit"],
    ),
    (
        "metal9-worker",
        &[
            "types", "tasks", "faults", "archive", "proto", "device", "env", "juicefs", "rootfs",
            "sandbox", "tls", "tunnel", "volume", "removal",
        ],
        &["testkit"],
    ),
    ("metal9-testkit", &["types", "tasks", "proto"], &[]),
    (
        "metal9-cli",
        &[
            "types", "tasks", "core", "proto", "store", "device", "env", "sandbox", "gateway",
            "worker", "tls", "service", "juicefs",
        ],
        &["testkit"],
    ),
    ("xtask", &[], &[]),
];

/// Compares the dependencies that cargo knows with the table.
///
/// # Errors
///
/// If cargo cannot describe the workspace.
pub(super) fn check() -> Result<Vec<String>> {
    let text = run::output(&mut run::cargo(&["metadata", "--format-version=1", "--no-deps"]))
        .context("cargo metadata failed")?;
    let metadata: Value = serde_json::from_str(&text).context("cargo metadata is not JSON")?;
    let packages = metadata["packages"].as_array().context("cargo metadata has no packages")?;
    Ok(packages.iter().flat_map(complaints).collect())
}

fn complaints(package: &Value) -> Vec<String> {
    let name = package["name"].as_str().unwrap_or_default();
    let Some((_, always, in_tests)) = EDGES.iter().find(|(known, ..)| *known == name) else {
        return vec![format!("{name} is not in the table of xtask/src/tidy/edges.rs")];
    };
    let dependencies = package["dependencies"].as_array().map_or(&[][..], Vec::as_slice);
    let ours = dependencies.iter().filter(|dependency| !dependency["path"].is_null());
    ours.filter_map(|dependency| {
        let target = dependency["name"].as_str().unwrap_or_default();
        let short = target.trim_start_matches("metal9-");
        let for_tests = dependency["kind"] == "dev";
        let allowed = always.contains(&short) || (for_tests && in_tests.contains(&short));
        (!allowed).then(|| format!("{name} must not depend on {target}"))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn package(name: &str, dependency: &str, kind: Value) -> Value {
        let dependency = json!({ "name": dependency, "kind": kind, "path": "/somewhere" });
        json!({ "name": name, "dependencies": [dependency, { "name": "serde", "kind": null }] })
    }

    #[test]
    fn an_edge_against_the_direction_is_a_complaint() {
        let package = package("metal9-core", "metal9-store", Value::Null);
        assert_eq!(complaints(&package), ["metal9-core must not depend on metal9-store"]);
    }

    #[test]
    fn the_test_kit_is_for_tests_only() {
        assert!(complaints(&package("metal9-worker", "metal9-testkit", json!("dev"))).is_empty());
        assert_eq!(complaints(&package("metal9-worker", "metal9-testkit", Value::Null)).len(), 1);
    }

    #[test]
    fn a_crate_nobody_has_placed_is_a_complaint() {
        assert_eq!(complaints(&package("metal9-new", "metal9-types", Value::Null)).len(), 1);
    }
}
