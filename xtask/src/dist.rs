//! `cargo xtask dist`: builds what is released, as `install.sh` fetches it.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};

use crate::python::Venv;
use crate::{darwin, pins, run};

/// The profile of `Cargo.toml` that releases are built with.
pub(crate) const PROFILE: &str = "dist";

/// The options of a release.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// For Macs too: linked on Linux, as `check-darwin` does
    #[arg(long)]
    mac: bool,
}

/// Builds the program for this system, and for Macs if asked to, and packs each into
/// `target/dist-archives` with its SHA-256 beside it.
///
/// # Errors
///
/// If anything cannot be built or written.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let directory = crate::root().join("target/dist-archives");
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    println!("building metal9 for release; on two cores that takes a quarter of an hour");
    pack(&directory, &kind()?, &build()?)?;
    if arguments.mac {
        pack(&directory, darwin::TARGET, &darwin::link(PROFILE)?)?;
    }
    Ok(())
}

/// Builds the program for this system.
///
/// # Errors
///
/// If it does not compile.
pub(crate) fn build() -> Result<PathBuf> {
    let arguments = ["build", "--profile", PROFILE, "--package", "metal9-cli", "--bin", "metal9"];
    run::quietly("cargo build --profile dist", &mut run::cargo(&arguments))?;
    Ok(crate::root().join("target").join(PROFILE).join("metal9"))
}

/// The system that the compiler compiles for, as `install.sh` names it.
fn kind() -> Result<String> {
    let text = run::output(std::process::Command::new("rustc").arg("-vV"));
    let text = text.context("rustc does not say what it compiles for")?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc does not say what it compiles for")
}

/// The uv for a kind of machine, out of its wheel. A release brings it along for machines without a
/// Python, which is what fetches it elsewhere.
fn uv(kind: &str) -> Result<PathBuf> {
    // Those for musl serve every C library.
    let platform = match kind {
        "aarch64-apple-darwin" => "macosx_11_0_arm64",
        "x86_64-unknown-linux-gnu" => "musllinux_1_1_x86_64",
        "aarch64-unknown-linux-gnu" => "musllinux_1_1_aarch64",
        other => bail!("nobody knows which uv is for {other}"),
    };
    let requirement = pins::requirement(pins::DEV, "uv").context("python/dev.txt pins no uv")?;
    let (_, version) = requirement.split_once("==").context("python/dev.txt pins no uv")?;
    let place = crate::root().join("target/dist-uv").join(kind);
    if place.exists() {
        fs::remove_dir_all(&place).with_context(|| format!("cannot remove {}", place.display()))?;
    }
    let venv = Venv::ensure()?;
    let mut download = venv.python();
    download.args(["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]);
    download.args(["--platform", platform, "--dest"]).arg(&place).arg(requirement);
    run::quietly("pip download uv", &mut download)?;
    let wheels = fs::read_dir(&place)?.filter_map(|entry| Some(entry.ok()?.path()));
    let wheel = wheels.last().context("pip has downloaded no wheel")?;
    let mut unpack = venv.python();
    unpack.args(["-m", "zipfile", "-e"]).arg(wheel).arg(&place);
    run::quietly("unpack uv", &mut unpack)?;
    let program = place.join(format!("uv-{}.data/scripts/uv", version.trim()));
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("the wheel has no {}", program.display()))?;
    Ok(program)
}

/// Packs a program, a uv and the licence. The same files give the same bytes, whoever packs them when.
fn pack(directory: &Path, kind: &str, program: &Path) -> Result<()> {
    let name = format!("metal9-{kind}.tar.gz");
    let path = directory.join(&name);
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::best()));
    archive.mode(tar::HeaderMode::Deterministic);
    archive.append_path_with_name(program, "metal9")?;
    archive.append_path_with_name(uv(kind)?, "metal9-uv")?;
    archive.append_path_with_name(crate::root().join("LICENSE"), "LICENSE")?;
    archive.into_inner()?.finish()?.sync_all()?;
    let digest = Sha256::digest(fs::read(&path)?);
    let mut sum = File::create(directory.join(format!("{name}.sha256")))?;
    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    writeln!(sum, "{digits}  {name}")?;
    println!(
        "{}: {:.1} MB, the program {:.1} MB",
        path.strip_prefix(crate::root()).unwrap_or(&path).display(),
        fs::metadata(&path)?.len() as f64 / 1e6,
        fs::metadata(program)?.len() as f64 / 1e6
    );
    Ok(())
}
