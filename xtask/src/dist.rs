//! `cargo xtask dist`: builds what is released, as `install.sh` fetches it.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};

use crate::{darwin, run};

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

/// Packs a program and the licence. The same files give the same bytes, whoever packs them when.
fn pack(directory: &Path, kind: &str, program: &Path) -> Result<()> {
    let name = format!("metal9-{kind}.tar.gz");
    let path = directory.join(&name);
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::best()));
    archive.mode(tar::HeaderMode::Deterministic);
    archive.append_path_with_name(program, "metal9")?;
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
