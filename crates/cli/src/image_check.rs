//! Where images can be had, and where they are needed.

pub(crate) mod program;
mod shown;

use std::sync::Arc;

use futures::future::join_all;
use metal9_env::{EnvError, Environments, Progress};
use metal9_types::{EnvLock, GpuRequest, GpuSelector, ImageSpec, Platform, PythonVersion, Target};
use serde::Serialize;

/// An image that is asked for.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Asked {
    pub(crate) image: ImageSpec,
    pub(crate) users: Vec<User>,
}

/// A name of the program that has an image.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct User {
    pub(crate) name: String,
    /// What it asks for, in the client's spelling.
    pub(crate) gpu: Vec<String>,
}

/// All that was found out.
#[derive(Debug, Serialize)]
pub(crate) struct Checked {
    /// `true` if every image can be had where it is needed.
    ok: bool,
    images: Vec<Image>,
}

/// One image and where it can be had.
#[derive(Debug, Serialize)]
struct Image {
    users: Vec<User>,
    packages: Vec<String>,
    python: String,
    platforms: Vec<Place>,
    /// Sentences that say where it is needed and cannot be had.
    missing: Vec<String>,
}

/// One kind of machine.
#[derive(Debug, Serialize)]
struct Place {
    platform: Platform,
    macos: Option<String>,
    resolves: bool,
    /// The Python version it was resolved for.
    python: Option<String>,
    /// How many packages it takes, those that others need included.
    packages: usize,
    /// Why it cannot be had, in one line.
    reason: Option<String>,
}

impl Asked {
    /// An image of these packages that nobody uses yet.
    pub(crate) fn packages(packages: &[String], python: Option<PythonVersion>) -> Self {
        let python_version = match python {
            Some(PythonVersion::Minor(minor)) => format!("python3.{minor}"),
            _ => "python3".to_owned(),
        };
        let image = ImageSpec {
            python_version,
            python_packages: packages.to_vec(),
            ..ImageSpec::default()
        };
        Self { image, users: Vec::new() }
    }
}

/// Resolves every image for every target. Where nobody has said which GPU, one platform will do,
/// unless `needed` names those that must.
pub(crate) async fn check(
    environments: &Environments,
    asked: Vec<Asked>,
    targets: &[Target],
    needed: &[Platform],
) -> Checked {
    let mut images = Vec::new();
    for asked in asked {
        let image = &asked.image;
        let places = targets.iter().map(|target| place(environments, image, *target));
        let platforms = join_all(places).await;
        images.push(Image::new(asked, platforms, needed));
    }
    Checked { ok: images.iter().all(|image| image.missing.is_empty()), images }
}

async fn place(environments: &Environments, image: &ImageSpec, target: Target) -> Place {
    let silent: Progress = Arc::new(|_| ());
    let here = environments.lock_for(image, target, &silent).await;
    let locked = match here {
        // It says nothing of the other machines of the kind.
        Err(EnvError::PythonMissing { .. }) => {
            environments.lock_elsewhere(image, target, &silent).await
        }
        locked => locked,
    };
    Place::new(target, locked)
}

impl Place {
    fn new(target: Target, locked: Result<EnvLock, EnvError>) -> Self {
        let Target { platform, macos } = target;
        let macos = macos.map(|macos| macos.to_string());
        let none =
            Self { platform, macos, resolves: false, python: None, packages: 0, reason: None };
        match locked {
            Ok(lock) => {
                let packages = lock.package_count();
                Self { resolves: true, python: Some(lock.python), packages, ..none }
            }
            Err(error) => Self { reason: Some(error.reason()), ..none },
        }
    }
}

impl Image {
    fn new(asked: Asked, platforms: Vec<Place>, needed: &[Platform]) -> Self {
        let Asked { image, users } = asked;
        let has =
            |of: &[Platform]| platforms.iter().any(|p| p.resolves && of.contains(&p.platform));
        // Where nobody looked, nothing is missing.
        let looked_at = |of: &[Platform]| platforms.iter().any(|p| of.contains(&p.platform));
        let mut missing: Vec<String> = Vec::new();
        for platform in needed {
            if !has(&[*platform]) {
                missing.push(format!("the image cannot be had on {platform}"));
            }
        }
        for user in &users {
            for (gpu, of) in needs(&user.gpu) {
                if looked_at(of) && !has(of) {
                    let names: Vec<&str> = of.iter().map(|platform| platform.as_str()).collect();
                    let (name, names) = (&user.name, names.join(" or "));
                    missing.push(format!(
                        "`{name}` asks for gpu \"{gpu}\", and its image cannot be had on {names}"
                    ));
                }
            }
        }
        if missing.is_empty() && !platforms.iter().any(|place| place.resolves) {
            missing.push("the image cannot be had anywhere".to_owned());
        }
        let packages = image.requirements();
        Self { users, packages, python: image.python_version, platforms, missing }
    }
}

const ON_MACS: &[Platform] = &[Platform::Aarch64Darwin];
const ON_LINUX: &[Platform] = &[Platform::X86_64Linux, Platform::Aarch64Linux];

/// Where each name of a GPU is found; `any` is found anywhere.
fn needs(gpu: &[String]) -> Vec<(String, &'static [Platform])> {
    let any = GpuSelector::parse("any");
    let request = GpuRequest::parse(&gpu.join(","), 0);
    let named = request.any_of.into_iter().filter(|name| Some(name) != any.as_ref());
    named.map(|name| (name.to_string(), if name.is_apple() { ON_MACS } else { ON_LINUX })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(gpu: &[&str], on: &[Platform], needed: &[Platform]) -> Image {
        let places = Target::all(metal9_types::MacosVersion::DEFAULT).map(|target| Place {
            platform: target.platform,
            macos: None,
            resolves: on.contains(&target.platform),
            python: None,
            packages: 0,
            reason: None,
        });
        let gpu = gpu.iter().map(|name| (*name).to_owned()).collect();
        let users = vec![User { name: "f".into(), gpu }];
        let asked = Asked { users, ..Asked::packages(&["six".into()], None) };
        Image::new(asked, places.into(), needed)
    }

    #[test]
    fn an_apple_gpu_needs_macs_and_another_some_linux() {
        assert_eq!(
            image(&["m3-max"], ON_LINUX, &[]).missing,
            ["`f` asks for gpu \"M3 Max\", and its image cannot be had on aarch64-apple-darwin"]
        );
        assert!(image(&["m3-max"], ON_MACS, &[]).missing.is_empty());
        assert!(image(&["H100"], &[Platform::X86_64Linux], &[]).missing.is_empty());
        assert_eq!(image(&["H100"], ON_MACS, &[]).missing.len(), 1);
        // Each alternative is of use only where the image is.
        assert_eq!(image(&["MPS", "H100"], ON_MACS, &[]).missing.len(), 1);
    }

    #[test]
    fn without_a_gpu_any_machine_will_do_unless_one_is_named() {
        for gpu in [&[][..], &["any"], &[""]] {
            assert!(image(gpu, ON_MACS, &[]).missing.is_empty(), "{gpu:?}");
            assert_eq!(image(gpu, &[], &[]).missing, ["the image cannot be had anywhere"]);
        }
        assert_eq!(
            image(&[], ON_MACS, &[Platform::X86_64Linux, Platform::Aarch64Darwin]).missing,
            ["the image cannot be had on x86_64-linux"]
        );
    }
}
