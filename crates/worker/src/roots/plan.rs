//! What is to be built, of what a client asks for.

use metal9_rootfs::{BuildSpec, Step};
use metal9_types::{ImageSpec, PythonVersion};

/// The image that has micromamba.
const MICROMAMBA: &str = "mambaorg/micromamba:latest";

/// The name of the image that it begins with; nothing for a Dockerfile. `default` has `{version}` for
/// a version of Python.
pub(super) fn base(image: &ImageSpec, default: &str) -> Option<String> {
    if !image.dockerfile.is_empty() {
        return None;
    }
    Some(match () {
        () if !image.base_image.is_empty() => image.base_image.clone(),
        () if image.is_micromamba() => MICROMAMBA.to_owned(),
        () => {
            let python = image.python_program();
            default.replace("{version}", python.trim_start_matches("python"))
        }
    })
}

/// An image by its name and the digest that this stands for.
pub(super) fn pinned(name: &str, digest: &str) -> String {
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    // A colon before the last slash is that of a port.
    let last = name.rfind('/').map_or(0, |slash| slash + 1);
    let end = name[last..].find(':').map_or(name.len(), |colon| last + colon);
    format!("{}@{digest}", &name[..end])
}

/// The build of an image but for its base and its context: packages, then commands, then steps in the
/// client's order. Steps of one kind in a row are one.
pub(super) fn build(image: &ImageSpec, secrets: &[(String, String)]) -> BuildSpec {
    let mut steps = Vec::new();
    if image.is_micromamba()
        && let Ok(PythonVersion::Minor(minor)) = image.python()
    {
        let channel = ["-c", "conda-forge"].map(str::to_owned);
        steps.push(Step::Micromamba([vec![format!("python=3.{minor}")], channel.into()].concat()));
    }
    steps.extend(image.commands.iter().cloned().map(Step::Shell));
    for step in &image.build_steps {
        match (step.kind.as_str(), steps.last_mut()) {
            ("pip", Some(Step::Pip(words))) => words.extend(pip(&step.command)),
            ("pip", _) => steps.push(Step::Pip(pip(&step.command))),
            ("micromamba", Some(Step::Micromamba(words))) => words.extend(split(&step.command)),
            ("micromamba", _) => steps.push(Step::Micromamba(split(&step.command))),
            _ => steps.push(Step::Shell(step.command.clone())),
        }
    }
    BuildSpec {
        base: None,
        layout: None,
        dockerfile: (!image.dockerfile.is_empty()).then(|| image.dockerfile.clone()),
        context: None,
        steps,
        python: image.python_program(),
        packages: image.python_packages.iter().flat_map(|line| pip(line)).collect(),
        env: image.env_vars.clone(),
        secrets: secrets.to_vec(),
        owner: image.owner.map(|owner| owner.to_string()).unwrap_or_default(),
        files: Vec::new(),
        network: true,
        ignore_python: image.ignore_python,
    }
}

/// A line of requirements: options are words, and a requirement, which may have spaces in it, is one.
fn pip(line: &str) -> Vec<String> {
    let line = line.trim();
    match line.starts_with('-') {
        true => split(line),
        false if line.is_empty() || line.starts_with('#') => Vec::new(),
        false => vec![line.to_owned()],
    }
}

fn split(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use metal9_types::BuildStep;

    use super::*;

    fn image() -> ImageSpec {
        ImageSpec { python_version: "python3.11".into(), ..ImageSpec::default() }
    }

    #[test]
    fn it_begins_with_what_is_named_or_with_a_python() {
        let default = "python:{version}-slim";
        assert_eq!(base(&image(), default).unwrap(), "python:3.11-slim");
        let any = ImageSpec { python_version: "python3".into(), ..image() };
        assert_eq!(base(&any, default).unwrap(), "python:3-slim");
        let mamba = ImageSpec { python_version: "micromamba3.11".into(), ..image() };
        assert_eq!(base(&mamba, default).unwrap(), MICROMAMBA);
        let own = ImageSpec { base_image: "a:1".into(), ..image() };
        assert_eq!(base(&own, default).unwrap(), "a:1");
        let file = ImageSpec { dockerfile: "FROM a".into(), ..image() };
        assert_eq!(base(&file, default), None);
    }

    #[test]
    fn a_digest_takes_the_place_of_a_tag_and_not_of_a_port() {
        let at = |name| pinned(name, "sha256:0");
        assert_eq!(at("a/b:tag"), "a/b@sha256:0");
        assert_eq!(at("host:5000/b"), "host:5000/b@sha256:0");
        assert_eq!(at("host:5000/b:tag@sha256:1"), "host:5000/b@sha256:0");
    }

    #[test]
    fn packages_commands_and_steps_keep_their_order() {
        let step =
            |kind: &str, command: &str| BuildStep { kind: kind.into(), command: command.into() };
        let asked = ImageSpec {
            python_packages: vec![
                "a ; python_version < '4'".into(),
                "--index-url https://b".into(),
            ],
            commands: vec!["first".into()],
            build_steps: vec![
                step("pip", "c"),
                step("pip", "d"),
                step("shell", "then"),
                step("micromamba", "e"),
                step("micromamba", "-c f"),
            ],
            ..image()
        };
        let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let built = build(&asked, &[]);
        assert_eq!(built.packages, ["a ; python_version < '4'", "--index-url", "https://b"]);
        assert_eq!(
            built.steps,
            [
                Step::Shell("first".into()),
                Step::Pip(words(&["c", "d"])),
                Step::Shell("then".into()),
                Step::Micromamba(words(&["e", "-c", "f"])),
            ]
        );
    }
}
