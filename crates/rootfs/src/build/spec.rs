//! What is to be built.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use crate::{Credentials, RootfsError};

/// An image that is to be built. Steps and packages are installed as root, in this order: packages,
/// then steps.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BuildSpec {
    /// The image to begin with: a reference to a registry's, or `scratch`. Either this or `layout` or
    /// `dockerfile`.
    pub base: Option<String>,
    /// The OCI image layout to begin with: a directory or an archive, without white space in its path.
    pub layout: Option<PathBuf>,
    /// The text of a Dockerfile to begin with.
    pub dockerfile: Option<String>,
    /// The directory that the Dockerfile copies from.
    pub context: Option<PathBuf>,
    /// What is done then.
    pub steps: Vec<Step>,
    /// The Python that the image must have, as `python3.11`, or `python3` for any. Packages are
    /// installed for it.
    pub python: String,
    /// Requirements for pip, as `numpy==2.1.0`.
    pub packages: Vec<String>,
    /// The environment of the steps and of the image.
    pub env: Vec<(String, String)>,
    /// The environment of the shell, pip and micromamba steps alone. The image does not have it, and
    /// it does not count for whether the same was built before, but for its names.
    pub secrets: Vec<(String, String)>,
    /// Who may have what is built with these secrets: for another owner it is built again.
    pub owner: String,
    /// Files and directories of this machine, and where they go in the image.
    pub files: Vec<(PathBuf, PathBuf)>,
    /// Whether steps have a network.
    pub network: bool,
    /// Whether an image without Python is as good.
    pub ignore_python: bool,
}

/// A step of a build.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// A command for `/bin/sh -c`.
    Shell(String),
    /// Arguments for `pip install`.
    Pip(Vec<String>),
    /// Arguments for `micromamba install --yes --name base`.
    Micromamba(Vec<String>),
}

/// How it is built.
#[derive(Clone, Debug)]
pub struct BuildOptions {
    /// How long it may take, from when it begins: builds of one cache wait for one another.
    pub timeout: Duration,
    /// How the registry of the base image knows us.
    pub credentials: Option<Credentials>,
    /// The network namespace that steps with a network run in, as the path of a file that it is mounted
    /// at (`/run/netns/…`; nothing in `/proc`, which buildah has one of its own of). The one of this
    /// process if it is nothing, whose loopback they reach then.
    pub network_namespace: Option<PathBuf>,
}

impl BuildSpec {
    /// Refuses what cannot be built.
    pub(super) fn check(&self) -> Result<(), RootfsError> {
        match (self.base.is_some() || self.layout.is_some(), &self.dockerfile) {
            (true, Some(_)) => return Err(wrong("it has both a base image and a Dockerfile")),
            (false, None) => return Err(wrong("it has neither a base image nor a Dockerfile")),
            _ if self.base.is_some() && self.layout.is_some() => {
                return Err(wrong("it has two base images"));
            }
            _ => {}
        }
        if let Some(path) = &self.layout
            && path.to_str().is_none_or(|path| path.contains(char::is_whitespace))
        {
            return Err(wrong(format!("`{}` has white space in its path", path.display())));
        }
        if let Some(text) = &self.dockerfile {
            check_dockerfile(text)?;
        }
        if !is_python(&self.python) {
            let python = &self.python;
            return Err(wrong(format!("`{python}` is no Python: name it as `python3.11`")));
        }
        for (name, value) in self.env.iter().chain(&self.secrets) {
            if !is_variable(name) {
                return Err(wrong(format!("`{name}` cannot be the name of a variable")));
            }
            if value.contains('\0') {
                return Err(wrong(format!("the value of `{name}` has a NUL in it")));
            }
        }
        for (name, value) in &self.env {
            if value.contains(['\n', '\r']) {
                return Err(wrong(format!("the value of `{name}` has more than one line")));
            }
        }
        let words = self.packages.iter().chain(self.steps.iter().flat_map(Step::words));
        if let Some(word) = words.into_iter().find(|word| word.contains('\0')) {
            return Err(wrong(format!("`{}` has a NUL in it", word.replace('\0', "\u{fffd}"))));
        }
        self.files.iter().try_for_each(|(_, inside)| check_inside(inside))
    }

    /// Whether anything is done above the base.
    pub(super) fn has_steps(&self) -> bool {
        !self.steps.is_empty() || !self.packages.is_empty()
    }

    pub(super) fn uses_micromamba(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Micromamba(_)))
    }
}

impl Step {
    fn words(&self) -> Vec<&String> {
        match self {
            Self::Shell(command) => vec![command],
            Self::Pip(words) | Self::Micromamba(words) => words.iter().collect(),
        }
    }
}

fn wrong(why: impl Into<String>) -> RootfsError {
    RootfsError::Spec { why: why.into() }
}

/// Our own lines follow, and must be read as what they are.
fn check_dockerfile(text: &str) -> Result<(), RootfsError> {
    let directives = text.lines().take_while(|line| line.starts_with('#'));
    for line in directives {
        let Some((name, value)) = line[1..].split_once('=') else { continue };
        if name.trim().eq_ignore_ascii_case("escape") && value.trim() != "\\" {
            return Err(wrong("the Dockerfile has an `escape` directive, which is not supported"));
        }
    }
    let last = text.lines().map(str::trim_end).rfind(|line| !line.trim().is_empty());
    match last {
        None => Err(wrong("the Dockerfile is empty")),
        Some(last) if last.ends_with('\\') => {
            Err(wrong("the Dockerfile ends in a line that goes on"))
        }
        Some(_) => Ok(()),
    }
}

fn is_python(name: &str) -> bool {
    let minor = match name.strip_prefix("python3") {
        Some("") => return true,
        rest => rest.and_then(|rest| rest.strip_prefix('.')),
    };
    minor.is_some_and(|it| (1..=2).contains(&it.len()) && it.bytes().all(|it| it.is_ascii_digit()))
}

fn is_variable(name: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(word)
}

fn check_inside(path: &Path) -> Result<(), RootfsError> {
    let goes_down = |part| matches!(part, Component::RootDir | Component::Normal(_));
    let plain = |text: &str| !text.contains(['$', '\\', '*', '?', '[', '\0', '\n']);
    if path.is_absolute() && path.components().all(goes_down) && path.to_str().is_some_and(plain) {
        return Ok(());
    }
    Err(wrong(format!("`{}` is no place in an image: give an absolute path", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> BuildSpec {
        BuildSpec { base: Some("a".into()), python: "python3".into(), ..BuildSpec::default() }
    }

    fn refused(spec: BuildSpec, word: &str) {
        let error = spec.check().unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }

    #[test]
    fn what_cannot_be_built_is_refused_before_it_is_tried() {
        spec().check().unwrap();
        let file = |text: &str| BuildSpec { base: None, dockerfile: Some(text.into()), ..spec() };
        file("FROM x\nRUN a \\\n  b\n").check().unwrap();
        refused(BuildSpec { dockerfile: Some("FROM x".into()), ..spec() }, "both");
        refused(BuildSpec { base: None, ..spec() }, "neither");
        refused(file(" \n"), "empty");
        refused(file("FROM x\nRUN a \\\n\n"), "goes on");
        refused(file("# escape=`\nFROM x"), "escape");
        for python in ["", "python", "python2", "python3.", "python3.11; rm", "python3.111"] {
            refused(BuildSpec { python: python.into(), ..spec() }, "Python");
        }
        let env = |name: &str, value: &str| {
            let env = vec![(name.to_owned(), value.to_owned())];
            BuildSpec { env, ..spec() }
        };
        refused(env("1A", ""), "`1A`");
        refused(env("A-B", ""), "`A-B`");
        refused(env("A", "1\n2"), "more than one line");
        for inside in ["relative", "/a/../b", "/a/$HOME", "/a*"] {
            let files = vec![("x".into(), inside.into())];
            refused(BuildSpec { files, ..spec() }, "absolute");
        }
        refused(BuildSpec { steps: vec![Step::Shell("a\0".into())], ..spec() }, "NUL");
    }
}
