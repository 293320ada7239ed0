//! Environments.

use metal9_types::ImageSpec;

use super::{environment, names, refuse, shown};
use crate::error::ApiError;

/// Requirement lines, commands and build steps of one image, each.
pub(crate) const MAX_LINES: usize = 1000;
/// Bytes of one of them.
pub(crate) const MAX_LINE: usize = 16 * 1024;
/// Bytes of a Dockerfile, which is refused with a reason of its own.
const MAX_DOCKERFILE: usize = 1024 * 1024;

/// Checks the size and the characters of everything in it; what a native worker cannot do is
/// another question.
pub(crate) fn image(spec: &ImageSpec) -> Result<(), ApiError> {
    let steps = spec.build_steps.iter().map(|step| &step.command);
    lines("python_packages", spec.python_packages.iter())?;
    lines("commands", spec.commands.iter())?;
    lines("build steps", steps)?;
    for (name, value) in &spec.env_vars {
        environment::check_name(name)?;
        environment::value_fits(name, value)?;
    }
    names::secret_count(spec.secrets.len())?;
    for (what, text) in [
        ("python_version", &spec.python_version),
        ("base_image", &spec.base_image),
        ("build context", &spec.build_context),
        ("git repository", &spec.git_repository),
        ("build GPU", &spec.gpu),
    ] {
        line(what, text, names::MAX_URL)?;
    }
    line("Dockerfile", &spec.dockerfile, MAX_DOCKERFILE)
}

fn lines<'a>(what: &str, lines: impl ExactSizeIterator<Item = &'a String>) -> Result<(), ApiError> {
    let count = lines.len();
    if count > MAX_LINES {
        return Err(refuse(
            format!("an image has {count} {what}, more than the limit of {MAX_LINES}"),
            "name the packages that the code imports; what they need themselves is found",
        ));
    }
    lines.into_iter().try_for_each(|text| line(what, text, MAX_LINE))
}

fn line(what: &str, text: &str, most: usize) -> Result<(), ApiError> {
    let why = if text.len() > most {
        format!("has {} bytes, more than the limit of {most}", text.len())
    } else if text.contains('\0') {
        "has a NUL in it".to_owned()
    } else {
        return Ok(());
    };
    Err(refuse(
        format!("`{}` in the image's {what} {why}", shown(text)),
        "write it in one line of text",
    ))
}
