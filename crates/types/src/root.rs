//! Root filesystems of containers, as far as an image asks for one.

use serde::{Deserialize, Serialize};

use crate::image::{ImageSpec, PythonVersion, Refusal};

/// Where the root filesystem of a container comes from; what comes later needs more of a worker.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum RootSource {
    /// The machine itself: any worker.
    #[default]
    Host,
    /// An image of a registry: a worker that makes containers of images.
    Pulled,
    /// An image that is built: one that builds them, too.
    Built,
}

impl RootSource {
    /// Its name, in messages between gateway and worker.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Pulled => "pulled",
            Self::Built => "built",
        }
    }

    /// The source of a name; the machine itself for one that is not known.
    #[must_use]
    pub fn named(name: &str) -> Self {
        [Self::Pulled, Self::Built].into_iter().find(|it| it.as_str() == name).unwrap_or_default()
    }
}

/// A root filesystem that an image was resolved to.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RootLock {
    /// The digest of the image that it begins with, as `sha256:…`: what its tag stood for. Empty for
    /// a Dockerfile, which names its own, and where nobody has looked yet.
    pub base: String,
}

impl ImageSpec {
    /// What its containers need for a root filesystem.
    #[must_use]
    pub fn root(&self) -> RootSource {
        let is_step = |kind: &str| self.build_steps.iter().any(|step| step.kind == kind);
        let built = !self.dockerfile.is_empty()
            || !self.commands.is_empty()
            || is_step("shell")
            || is_step("micromamba")
            || self.is_micromamba()
            // Its own Python is to have them.
            || (!self.base_image.is_empty() && !self.requirements().is_empty());
        match built {
            true => RootSource::Built,
            false if self.base_image.is_empty() => RootSource::Host,
            false => RootSource::Pulled,
        }
    }

    /// `true` if its packages are micromamba's.
    #[must_use]
    pub fn is_micromamba(&self) -> bool {
        self.python_version.starts_with("micromamba")
    }

    /// The Python that it asks for, whoever installs it.
    ///
    /// # Errors
    ///
    /// If it is no version of Python.
    pub fn python(&self) -> Result<PythonVersion, String> {
        self.python_version.replace("micromamba", "python").parse()
    }

    /// The name of the Python that its root filesystem must have, as `python3` or `python3.11`.
    #[must_use]
    pub fn python_program(&self) -> String {
        match self.python() {
            Ok(PythonVersion::Minor(minor)) => format!("python3.{minor}"),
            _ => "python3".to_owned(),
        }
    }

    /// The image that has the SDK alone, for a Python as `3.11`: what is added to a root filesystem
    /// that has everything else.
    #[must_use]
    pub fn sdk_alone(&self, python: &str) -> Self {
        Self {
            python_version: format!("python{python}"),
            sdk_version: self.sdk_version.clone(),
            ..Self::default()
        }
    }

    /// What of this image no worker can honour, one that builds images neither; empty if one can.
    #[must_use]
    pub fn refusals(&self) -> Vec<Refusal> {
        if self.root() == RootSource::Host {
            return self.native_refusals();
        }
        let mut refusals = Vec::new();
        let mut refuse = |feature: String, reason: &str, hint: &str| {
            refusals.push(Refusal { feature, reason: reason.into(), hint: hint.into() });
        };
        if !self.git_repository.is_empty() {
            refuse(
                format!("git build source `{}`", self.git_repository),
                "workers fetch no repositories to build from",
                "clone it in a command, or send it along as the context of `Image.from_dockerfile`",
            );
        }
        if !self.gpu.is_empty() {
            refuse(
                format!("build GPU `{}`", self.gpu),
                "images are built without accelerators",
                "leave `build_with_gpu` out and ask for the GPU on the function",
            );
        }
        if !self.dockerfile.is_empty() && !self.base_image.is_empty() {
            refuse(
                format!("base image `{}`", self.base_image),
                "the Dockerfile names what it begins with",
                "leave `base_image` out, or the Dockerfile",
            );
        }
        if self.ignore_python {
            refuse(
                "ignore_python".into(),
                "functions are Python, whose interpreter must be in the image",
                "leave it out",
            );
        }
        if let Err(error) = self.python() {
            refuse("python_version".into(), &error, "use `python3`, or a version as `python3.11`");
        }
        refusals
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BuildStep;

    fn spec() -> ImageSpec {
        ImageSpec { python_version: "python3.11".into(), ..ImageSpec::default() }
    }

    #[test]
    fn what_changes_the_system_is_built_and_a_base_alone_is_pulled() {
        let base = || "debian:12".to_owned();
        let packages = || vec!["six".to_owned()];
        let step = |kind: &str| vec![BuildStep { kind: kind.into(), command: "a".into() }];
        assert_eq!(ImageSpec { python_packages: packages(), ..spec() }.root(), RootSource::Host);
        assert_eq!(ImageSpec { build_steps: step("pip"), ..spec() }.root(), RootSource::Host);
        assert_eq!(ImageSpec { base_image: base(), ..spec() }.root(), RootSource::Pulled);
        for built in [
            ImageSpec { base_image: base(), python_packages: packages(), ..spec() },
            ImageSpec { commands: packages(), ..spec() },
            ImageSpec { build_steps: step("shell"), ..spec() },
            ImageSpec { dockerfile: "FROM a".into(), ..spec() },
            ImageSpec { python_version: "micromamba3.11".into(), ..spec() },
        ] {
            assert_eq!(built.root(), RootSource::Built, "{built:?}");
            assert!(built.refusals().is_empty() && !built.native_refusals().is_empty());
        }
    }

    #[test]
    fn the_python_of_a_root_has_the_name_that_it_has_in_images() {
        let named =
            |version: &str| ImageSpec { python_version: version.into(), ..spec() }.python_program();
        let names = ["python3", "python3.12", "micromamba3.9", "micromamba"].map(named);
        assert_eq!(names, ["python3", "python3.12", "python3.9", "python3"]);
    }

    #[test]
    fn what_no_worker_can_do_is_refused_with_what_to_do_instead() {
        let asks = ImageSpec {
            commands: vec!["true".into()],
            gpu: "A100".into(),
            git_repository: "https://a".into(),
            ignore_python: true,
            ..spec()
        };
        assert_eq!(asks.refusals().len(), 3);
        let both = ImageSpec { dockerfile: "FROM a".into(), base_image: "b".into(), ..spec() };
        assert!(both.refusals()[0].hint.contains("leave `base_image` out"));
    }

    #[test]
    fn credentials_do_not_make_another_image_and_an_owner_does() {
        let plain = ImageSpec { base_image: "a".into(), ..spec() };
        let known = ImageSpec { credentials: vec!["A_USERNAME".into()], ..plain.clone() };
        assert_eq!(plain.id(), known.id());
        let owner = "01890c2f-7b9a-7000-8000-000000000000".parse().ok();
        assert_ne!(plain.id(), ImageSpec { owner, ..plain }.id());
    }
}
