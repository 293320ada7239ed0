//! `metal9 image check`.

use std::path::PathBuf;

use anyhow::anyhow;
use metal9_env::{Environments, Options};
use metal9_types::{MacosVersion, Platform, PythonVersion, Target};

use crate::context::{self, Context};
use crate::failure::Failure;
use crate::image_check::{self, Asked, program};
use crate::talk::Spinner;

/// The options of looking at images.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The program whose images are looked at; it is imported, as `python` would
    #[arg(value_name = "FILE", required_unless_present = "package", conflicts_with = "package")]
    program: Option<PathBuf>,
    /// A package to look at instead, as `mlx[cpu]>=0.30`; may be repeated
    #[arg(long, value_name = "REQUIREMENT", allow_hyphen_values = true)]
    package: Vec<String>,
    /// The Python version for `--package`, as `3.12` [default: any]
    #[arg(long, value_name = "VERSION", requires = "package")]
    python_version: Option<PythonVersion>,
    /// The Python that imports the program [default: that of $VIRTUAL_ENV, or `python3`]
    #[arg(long, value_name = "PATH", conflicts_with = "package")]
    python: Option<PathBuf>,
    /// Look at this platform only, and fail if an image cannot be had there; may be repeated
    #[arg(long, value_name = "PLATFORM")]
    platform: Vec<Platform>,
    /// The oldest macOS that Macs have
    #[arg(long, value_name = "VERSION", default_value_t = MacosVersion::DEFAULT)]
    macos: MacosVersion,
}

/// Looks at every image and shows where it can be had.
///
/// # Errors
///
/// If the program cannot be imported, or an image cannot be had where it is needed.
pub(crate) fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    context.start_log("warn")?;
    let asked = match &arguments.program {
        Some(file) => program::images(file, arguments.python.as_deref())?,
        None => vec![Asked::packages(&arguments.package, arguments.python_version)],
    };
    if asked.is_empty() {
        let hint = "an image counts if a function at the top of the file, or a name there, has it";
        return Err(Failure::request(anyhow!("the program has no images")).hint(hint));
    }
    let only = &arguments.platform;
    let mut targets = Target::all(arguments.macos).to_vec();
    targets.retain(|target| only.is_empty() || only.contains(&target.platform));

    let spinner = Spinner::start("resolving packages");
    let checked = context::serve(Box::pin(async {
        let environments = Environments::open(options()).await.map_err(unusable)?;
        Ok(image_check::check(&environments, asked, &targets, only).await)
    }))?;
    drop(spinner);
    context.output.show(&checked, || checked.text())?;
    match checked.complaint() {
        Some(complaint) => Err(Failure::request(anyhow!(complaint))),
        None => Ok(()),
    }
}

/// Nothing is built here, so it is only the cache that takes room.
fn options() -> Options {
    let root = std::env::home_dir().unwrap_or_default().join(".metal9/image-check");
    Options {
        runner_dir: root.join("runner"),
        root,
        uv: None,
        python: None,
        install_pythons: false,
    }
}

fn unusable(error: metal9_env::EnvError) -> Failure {
    let hint = error.hint();
    let failure = Failure::request(error).context("packages cannot be resolved here");
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
