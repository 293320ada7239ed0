//! Why there is no root filesystem.

use std::io;
use std::path::{Path, PathBuf};

use oci_client::errors::OciDistributionError;

/// Why there is no root filesystem.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootfsError {
    /// The name of an image is none.
    #[error("`{reference}` is no name of an image: {why}")]
    Reference {
        /// What was given.
        reference: String,
        /// What is wrong with it.
        why: String,
    },
    /// The registry does not have it, or not for these credentials.
    #[error("the registry has no image `{reference}`, or does not show it")]
    NotFound {
        /// The image.
        reference: String,
        /// What the registry said.
        #[source]
        source: Box<OciDistributionError>,
    },
    /// The registry does not let us in.
    #[error("the registry of `{reference}` refused {}", credentials_text(*.with_credentials))]
    Unauthorized {
        /// The image.
        reference: String,
        /// Whether there were credentials.
        with_credentials: bool,
    },
    /// The registry cannot be reached, or broke off again and again.
    #[error("the registry of `{reference}` could not be talked to")]
    Registry {
        /// The image.
        reference: String,
        /// Why.
        #[source]
        source: Box<OciDistributionError>,
    },
    /// What came is not what its digest names.
    #[error("{what} is not what its digest says: expected {expected}, got {found}")]
    Digest {
        /// What was checked.
        what: String,
        /// The digest it should have.
        expected: String,
        /// The one it has.
        found: String,
    },
    /// It is larger than is allowed.
    #[error("{what} is larger than the limit of {limit} bytes")]
    TooLarge {
        /// What is.
        what: String,
        /// Bytes that are allowed.
        limit: u64,
    },
    /// It has more files than are allowed.
    #[error("the image has more than the {limit} files and directories that are allowed")]
    TooMany {
        /// How many are allowed.
        limit: u64,
    },
    /// The image is not made as it should be.
    #[error("{what} is not as the OCI image format says: {why}")]
    Malformed {
        /// The part that is not.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// An entry of a layer leads out of it.
    #[error("layer {layer} has an entry `{entry}` {why}")]
    Hostile {
        /// The layer.
        layer: String,
        /// The entry, shortened.
        entry: String,
        /// What is wrong with it, as `that leads out of the image`.
        why: &'static str,
    },
    /// The image is for another kind of machine.
    #[error("the image is for {found}, and this machine is {wanted}")]
    Platform {
        /// What this machine is.
        wanted: String,
        /// What there is.
        found: String,
    },
    /// A file or directory of this machine could not be worked with.
    #[error("could not {action} `{}`", path.display())]
    Files {
        /// What was tried, as `create`.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process has the cache.
    #[error("the image cache `{}` is in use by another process", .0.display())]
    InUse(PathBuf),
    /// It cannot be done on this machine.
    #[error("{what} cannot be had here: {why}")]
    Unsupported {
        /// What was wanted.
        what: &'static str,
        /// What is missing.
        why: String,
    },
    /// What is to be built makes no sense.
    #[error("the image cannot be built: {why}")]
    Spec {
        /// What is wrong.
        why: String,
    },
    /// A step of a build failed, or buildah did.
    #[error("the image could not be built:\n{output}")]
    Build {
        /// The last that was written.
        output: String,
    },
    /// A build took too long.
    #[error("the image was not built within {seconds} s:\n{output}")]
    BuildTimeout {
        /// The limit.
        seconds: u64,
        /// The last that was written.
        output: String,
    },
    /// The image has no Python of the version that is wanted.
    #[error("the image has no `{python}`: `{python} --version` does not work in it")]
    NoPython {
        /// The program that is wanted, as `python3.11`.
        python: String,
    },
    /// A step needs micromamba, and the image has none.
    #[error("a build step uses micromamba, and the image has no `micromamba`")]
    NoMicromamba,
}

impl RootfsError {
    /// What the person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Reference { .. } => {
                "name it as `registry/repository:tag` or `registry/repository@sha256:…`"
            }
            Self::NotFound { .. } => {
                "check the name and the tag; for a private image give credentials with \
                 `base_image_creds`"
            }
            Self::Unauthorized { .. } => {
                "give the credentials of an account that may pull it with `base_image_creds`"
            }
            Self::Registry { .. } => {
                "check the worker's network; a registry without TLS must be named in the worker's \
                 list of insecure registries"
            }
            Self::TooLarge { .. } | Self::TooMany { .. } => {
                "make the image smaller, or raise the worker's limits for images"
            }
            Self::Digest { .. } | Self::Malformed { .. } | Self::Hostile { .. } => {
                "push the image again with a current tool; do not trust where it came from until \
                 it is known why"
            }
            Self::Platform { .. } => {
                "build the image for several platforms, as `docker buildx build --platform \
                 linux/amd64,linux/arm64` does"
            }
            Self::NoPython { python } => {
                return Some(format!(
                    "install {python} in the image's commands, or ask for the version that the base \
                     image has with `python_version=`"
                ));
            }
            Self::NoMicromamba => {
                "use a base image that has it, as `mambaorg/micromamba`, or install the packages \
                 with pip"
            }
            Self::BuildTimeout { .. } => "raise the worker's limit for builds, or build less",
            _ => return None,
        };
        Some(text.to_owned())
    }

    pub(crate) fn files<'a>(
        action: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Files { action, path: path.to_owned(), source }
    }

    pub(crate) fn malformed(what: impl Into<String>, why: impl ToString) -> Self {
        Self::Malformed { what: what.into(), why: why.to_string() }
    }
}

fn credentials_text(with: bool) -> &'static str {
    if with { "the credentials" } else { "to be read without credentials" }
}
