//! From an image to a lock.

use metal9_types::{EnvLock, ImageSpec, Platform, PythonVersion, Refusal, RootLock, Target};

use crate::process::{self, Input};
use crate::pythons::Pythons;
use crate::requirements::Requirements;
use crate::talk::Talk;
use crate::tools::pinned;
use crate::uv::Uv;
use crate::{EnvError, Progress};

/// Holds the SDK that an environment gets if the caller did not say which one it runs.
const SDK_PIN: &str = include_str!("../../../python/sdk.txt");

/// Resolves an image for a platform. Unless it will be installed here, only wheels count: what has
/// to be built from source could fail elsewhere, and nobody here can try. The last of `how` says whether
/// only they count here, too.
pub(crate) async fn resolve(
    uv: &Uv,
    pythons: &Pythons,
    spec: &ImageSpec,
    target: Target,
    how: (bool, bool),
    progress: &Progress,
) -> Result<EnvLock, EnvError> {
    let name = uv_platform(target.platform);
    resolve_as(uv, pythons, spec, (target, name), how, progress).await
}

/// Resolves an image for root filesystems, whose system libraries may be old, and which nobody looks
/// at: so all of it are wheels that go with most of them.
pub(crate) async fn resolve_for_roots(
    uv: &Uv,
    pythons: &Pythons,
    spec: &ImageSpec,
    platform: Platform,
    progress: &Progress,
) -> Result<EnvLock, EnvError> {
    let target = (platform.into(), uv_platform_of_roots(platform));
    let lock = resolve_as(uv, pythons, spec, target, (false, true), progress).await?;
    Ok(EnvLock { root: Some(RootLock::default()), ..lock })
}

async fn resolve_as(
    uv: &Uv,
    pythons: &Pythons,
    spec: &ImageSpec,
    (target, platform_name): (Target, &str),
    (is_here, only_wheels): (bool, bool),
    progress: &Progress,
) -> Result<EnvLock, EnvError> {
    let Target { platform, macos } = target;
    let requirements = requirements(spec)?;
    // An unreadable version was refused above.
    let wanted = spec.python_version.parse().unwrap_or(PythonVersion::Any);
    let (minor, python) = match (pythons.find(wanted), wanted) {
        (Ok(found), _) => found,
        // Another machine may have a version this one lacks: any interpreter can resolve for it.
        (Err(error), PythonVersion::Minor(minor)) if !is_here => {
            (minor, pythons.find(PythonVersion::Any).map_err(|_| error)?.1)
        }
        (Err(error), _) => return Err(error),
    };

    let mut command = uv.command(&["pip", "compile", "-", "--generate-hashes"]);
    command.args(["--no-header", "--no-annotate", "--python"]).arg(python);
    if !is_here {
        command.args(["--python-version", &format!("3.{minor}")]);
    }
    if !is_here || only_wheels {
        command.args(["--only-binary", ":all:"]);
    }
    if !is_here || macos.is_some() {
        command.args(["--python-platform", platform_name]);
    }
    if let Some(macos) = macos {
        // Without it uv takes a macOS so old that it picks old releases without a word.
        command.env("MACOSX_DEPLOYMENT_TARGET", macos.to_string());
    }
    let mut talk = Talk::new(progress);
    let input = Input::Text(requirements.text());
    let ended = process::run(command, input, &mut |line: &str| talk.hear(line)).await?;
    if !ended.success {
        return Err(talk.failure(&ended.tail, |output| match is_here {
            true if only_wheels => EnvError::NoWheel { output },
            true => EnvError::Unresolvable { output },
            false => EnvError::UnresolvableThere { target, output },
        }));
    }
    Ok(EnvLock {
        platform,
        python: format!("3.{minor}"),
        requirements: normalise(&requirements.index_options, &ended.stdout),
        macos,
        root: None,
    })
}

/// All an environment must have: what the image asks for and the SDK.
fn requirements(spec: &ImageSpec) -> Result<Requirements, EnvError> {
    let mut refusals = spec.native_refusals();
    let sdk = match spec.sdk_version.trim() {
        "" => pinned(SDK_PIN, "beta9").unwrap_or_default(),
        version => version,
    };
    let is_version = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '!' | '-');
    if !sdk.chars().all(is_version) {
        refusals.push(Refusal {
            feature: format!("SDK version `{sdk}`"),
            reason: "it is not a version of a package".into(),
            hint: "use a released SDK".into(),
        });
    }
    let read = Requirements::read(&spec.requirements());
    if let Err(EnvError::Refused(more)) = &read {
        refusals.extend(more.iter().cloned());
    }
    if !refusals.is_empty() {
        return Err(EnvError::Refused(refusals));
    }
    let mut requirements = read?;
    let pin = if sdk.is_empty() { "" } else { "==" };
    requirements.packages.push(format!("beta9{pin}{sdk}"));
    Ok(requirements)
}

/// uv's name for a platform it does not run on.
fn uv_platform(platform: Platform) -> &'static str {
    match platform {
        // Some packages, as mlx, have wheels for no older system library than this.
        Platform::X86_64Linux => "x86_64-manylinux_2_35",
        Platform::Aarch64Linux => "aarch64-manylinux_2_35",
        Platform::Aarch64Darwin => "aarch64-apple-darwin",
    }
}

/// uv's name for a platform with a system library that is older than most.
pub(crate) fn uv_platform_of_roots(platform: Platform) -> &'static str {
    match platform {
        Platform::X86_64Linux => "x86_64-manylinux2014",
        Platform::Aarch64Linux => "aarch64-manylinux2014",
        Platform::Aarch64Darwin => uv_platform(platform),
    }
}

/// uv's answer without anything that depends on where and when it was made.
fn normalise(index_options: &[String], answer: &str) -> String {
    let is_index = |line: &str| {
        ["--index-url", "--extra-index-url", "--find-links", "--default-index", "--index"]
            .iter()
            .any(|option| line.split([' ', '=']).next() == Some(*option))
    };
    let packages = answer
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.trim_start().starts_with('#') && !line.is_empty() && !is_index(line));
    let options = index_options.iter().map(String::as_str);
    options.chain(packages).map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_has_no_trace_of_where_it_was_made() {
        let answer = "# This file was autogenerated by uv via the following command:\n\
                      #    uv pip compile - --cache-dir /home/ann/x\n\
                      --index-url https://leaked.example/simple\r\n\
                      \n\
                      six==1.16.0 ; python_version < '4' \\\n    \
                          --hash=sha256:1e61 \\\n    \
                          --hash=sha256:8abb   \n    \
                          # via -r -\n\
                      pkg @ git+https://example.org/pkg@0123\n";
        assert_eq!(
            normalise(&["--extra-index-url https://b.example/simple".into()], answer),
            "--extra-index-url https://b.example/simple\n\
             six==1.16.0 ; python_version < '4' \\\n    \
                 --hash=sha256:1e61 \\\n    \
                 --hash=sha256:8abb\n\
             pkg @ git+https://example.org/pkg@0123\n"
        );
    }

    #[test]
    fn the_callers_sdk_comes_last_and_the_projects_own_where_none_is_named() {
        let mut spec = ImageSpec { python_packages: vec!["six".into()], ..ImageSpec::default() };
        let pin = pinned(SDK_PIN, "beta9").unwrap();
        assert_eq!(requirements(&spec).unwrap().packages, ["six", &format!("beta9=={pin}")]);
        spec.sdk_version = "0.1.200".into();
        assert_eq!(requirements(&spec).unwrap().packages, ["six", "beta9==0.1.200"]);
    }

    #[test]
    fn all_that_is_refused_is_refused_at_once() {
        let spec = ImageSpec {
            python_packages: vec!["-e .".into()],
            commands: vec!["apt-get install x".into()],
            sdk_version: "1\n-r /etc/passwd".into(),
            ..ImageSpec::default()
        };
        let Err(EnvError::Refused(refusals)) = requirements(&spec) else { panic!("taken") };
        assert_eq!(refusals.len(), 3);
    }
}
