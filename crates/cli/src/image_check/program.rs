//! The images of a program, by importing it with the user's Python.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, anyhow};
use metal9_types::{BuildStep, ImageSpec};
use serde::Deserialize;

use super::{Asked, User};
use crate::environment;
use crate::failure::Failure;

/// What Python runs: it prints the images as JSON.
const SCRIPT: &str = include_str!("../../../../python/metal9/src/metal9/images.py");
/// How Python says that a package is not there.
const NO_METAL9: &str = "No module named 'metal9'";
const NO_SDK: &str = "No module named 'beta9'";

#[derive(Deserialize)]
struct Answer {
    sdk: String,
    images: Vec<Found>,
}

#[derive(Deserialize)]
struct Found {
    image: Described,
    users: Vec<Using>,
}

#[derive(Deserialize)]
struct Using {
    name: String,
    gpu: Vec<String>,
}

#[derive(Deserialize)]
struct Described {
    python_version: String,
    python_packages: Vec<String>,
    commands: Vec<String>,
    build_steps: Vec<BuildStep>,
    base_image: String,
    dockerfile: String,
    gpu: String,
    secrets: Vec<String>,
}

/// Imports a program and gives its images.
///
/// # Errors
///
/// If there is no Python, or the program cannot be imported.
pub(crate) fn images(program: &Path, python: Option<&Path>) -> Result<Vec<Asked>, Failure> {
    if !program.is_file() {
        return Err(Failure::usage(anyhow!("there is no file `{}`", program.display())));
    }
    let python = python.map_or_else(find_python, |path| Ok(path.to_owned()))?;
    let done = Command::new(&python)
        .args(["-c", SCRIPT])
        .arg(program)
        // The SDK is not to ask anybody anything.
        .env("CI", "1")
        .env("BETA9_NO_INPUT", "1")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run `{}`", python.display()))
        .map_err(Failure::usage)?;
    if !done.status.success() {
        return Err(not_imported(program, &String::from_utf8_lossy(&done.stderr)));
    }
    read(&String::from_utf8_lossy(&done.stdout))
        .with_context(|| format!("`{}` gave an answer that makes no sense", python.display()))
        .map_err(Failure::ours)
}

fn find_python() -> Result<PathBuf, Failure> {
    if let Some(active) = environment::read(environment::VIRTUAL_ENV) {
        return Ok(PathBuf::from(active).join("bin/python"));
    }
    which::which("python3").map_err(|_| {
        Failure::usage(anyhow!("there is no `python3`"))
            .hint("name the Python that has the SDK with `--python`")
    })
}

/// Why Python could not import the program; its traceback says it best.
fn not_imported(program: &Path, stderr: &str) -> Failure {
    let failure = Failure::request(anyhow!(stderr.trim().to_owned()))
        .context(format!("`{}` cannot be imported", program.display()));
    let install = match () {
        () if stderr.contains(NO_METAL9) => "install the Python package metal9 (python/metal9)",
        () if stderr.contains(NO_SDK) => "`pip install beta9`",
        () => return failure,
    };
    failure.hint(format!("{install}, or name a Python that has it with `--python`"))
}

fn read(answer: &str) -> serde_json::Result<Vec<Asked>> {
    let answer: Answer = serde_json::from_str(answer)?;
    let sdk = answer.sdk;
    let asked = answer.images.into_iter().map(|found| Asked {
        image: spec(found.image, &sdk),
        users: found.users.into_iter().map(|u| User { name: u.name, gpu: u.gpu }).collect(),
    });
    Ok(asked.collect())
}

fn spec(image: Described, sdk: &str) -> ImageSpec {
    ImageSpec {
        python_version: image.python_version,
        python_packages: image.python_packages,
        commands: image.commands,
        build_steps: image.build_steps,
        base_image: image.base_image,
        dockerfile: image.dockerfile,
        gpu: image.gpu,
        secrets: image.secrets,
        sdk_version: sdk.to_owned(),
        ..ImageSpec::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_answer_is_read() {
        let answer = r#"{"sdk": "0.1.2", "images": [{"users": [{"name": "f", "gpu": ["MPS"]}],
            "image": {"python_version": "python3.12", "python_packages": ["six"], "commands": [],
            "build_steps": [{"kind": "pip", "command": "toml"}], "base_image": "",
            "dockerfile": "", "gpu": "", "secrets": []}}]}"#;
        let asked = read(answer).unwrap();
        assert_eq!(asked[0].image.requirements(), ["six", "toml"]);
        assert_eq!(asked[0].image.sdk_version, "0.1.2");
        assert_eq!(asked[0].users[0].gpu, ["MPS"]);
        assert!(read("{}").is_err());
    }

    #[test]
    fn a_missing_package_has_a_hint() {
        let program = Path::new("app.py");
        let text = |stderr: &str| not_imported(program, stderr).to_string();
        let missing = text("Traceback\nModuleNotFoundError: No module named 'metal9'\n");
        assert!(missing.contains("hint: install the Python package metal9"), "{missing}");
        assert!(missing.starts_with("error: `app.py` cannot be imported\n"), "{missing}");
        assert!(!text("ValueError: x").contains("hint"));
    }
}
