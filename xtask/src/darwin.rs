//! `cargo xtask check-darwin`: compiles the workspace for Macs, and links the program, on Linux.
//!
//! The compiler is Debian's, because its standard library comes with sources of the same version and
//! can so be built for another system. The C compiler and the linker are zig's, which has the headers
//! and the exports of macOS' own C library; those of its frameworks are told by [`stubs`]. What comes
//! out cannot be run here: [`binary`] looks at what can be seen of it.

mod binary;
mod stubs;
mod tools;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::dist::PROFILE;
use crate::run;
use tools::Tools;

/// The system that is compiled for.
pub(crate) const TARGET: &str = "aarch64-apple-darwin";

/// The oldest macOS that the program starts on; MLX's wheels ask for the same.
const OLDEST_MACOS: &str = "14.0";

/// The most that a released program may have, in megabytes. Far above what it has: it is there to
/// notice what was linked by mistake.
const RELEASE_MB: f64 = 64.0;
/// What must not be loaded with the program, but by its probe of Metal alone: every daemon and every
/// supervisor of a job would have it.
const NOT_LOADED: [&str; 3] = ["Metal", "Foundation", "libobjc.A.dylib"];

/// What the workspace may consist of but the program's own code, one library a directory.
const SYSTEM: [&str; 2] = ["/usr/lib/", "/System/Library/"];

/// Whether the check can be made here; else why not, for people.
pub(crate) fn obstacle() -> Result<Option<String>> {
    if cfg!(target_os = "macos") {
        return Ok(Some("this is macOS, where clippy and the tests say the same and more".into()));
    }
    tools::obstacle()
}

/// Checks and links everything.
///
/// # Errors
///
/// If a tool cannot be had, anything does not compile or link, or the program is not as it must be.
pub(crate) fn run() -> Result<()> {
    let build = Build::prepare()?;
    timed("checked the workspace", || build.check())?;
    build.link("dev", "debug").map(drop)
}

/// Links the program with a profile of our own, looks at it as [`run`] does, and returns where it is.
///
/// # Errors
///
/// As [`run`].
pub(crate) fn link(profile: &str) -> Result<PathBuf> {
    Build::prepare()?.link(profile, profile)
}

fn timed(what: &str, step: impl FnOnce() -> Result<()>) -> Result<()> {
    let started = Instant::now();
    step()?;
    println!("{what} for {TARGET} in {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// Reads a linked program of `most` megabytes at most, and says in one line what it is.
fn examine(program: &Path, most: Option<f64>) -> Result<String> {
    let bytes = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    let binary = binary::Binary::read(&bytes)
        .with_context(|| format!("{} is no sound program for a Mac", program.display()))?;
    binary.require(OLDEST_MACOS, &SYSTEM, &NOT_LOADED)?;
    let megabytes = bytes.len() as f64 / 1e6;
    if let Some(most) = most {
        anyhow::ensure!(
            megabytes <= most,
            "{} has {megabytes:.1} MB; no more than {most} are expected",
            program.display()
        );
    }
    Ok(format!(
        "{}: {binary}, {:.1} MB",
        program.strip_prefix(crate::root()).unwrap_or(program).display(),
        megabytes
    ))
}

/// A directory to build in, and what with.
struct Build {
    tools: Tools,
    directory: PathBuf,
}

impl Build {
    fn prepare() -> Result<Self> {
        if let Some(obstacle) = obstacle()? {
            anyhow::bail!("cannot compile for macOS: {obstacle}");
        }
        let directory = crate::root().join("target/darwin");
        let build = Self { tools: Tools::ensure()?, directory };
        build.write_stubs()?;
        Ok(build)
    }

    fn sdk(&self) -> PathBuf {
        self.directory.join("sdk")
    }

    /// Writes what the linker wants to know of the frameworks that the workspace uses.
    fn write_stubs(&self) -> Result<()> {
        let mut metadata = self.tools.command(&self.tools.cargo());
        metadata.args(["metadata", "--format-version=1", "--filter-platform", TARGET]);
        let text = run::output(&mut metadata).context("cargo metadata failed")?;
        stubs::write(&text, &self.sdk()).context("cannot describe the frameworks to the linker")
    }

    /// Everything, tests too, with clippy as the compiler of our own crates.
    ///
    /// `cargo clippy` would do the same, but cargo looks for it among rustup's programs first.
    fn check(&self) -> Result<()> {
        let mut check = self.cargo("check", &["--workspace", "--all-targets"]);
        check.env("RUSTC_WORKSPACE_WRAPPER", self.tools.clippy_driver());
        // How `cargo clippy` passes on `-D warnings`.
        check.env("CLIPPY_ARGS", "-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__");
        run::quietly("cargo check for macOS", &mut check)
    }

    /// Links the program; `place` is where cargo puts what it builds with the profile.
    fn link(&self, profile: &str, place: &str) -> Result<PathBuf> {
        let mut build =
            self.cargo("build", &["--workspace", "--bin", "metal9", "--profile", profile]);
        timed(&format!("linked a {place} build"), || {
            run::quietly("cargo build for macOS", &mut build)
        })?;
        let program = self.directory.join("build").join(TARGET).join(place).join("metal9");
        println!("{}", examine(&program, (profile == PROFILE).then_some(RELEASE_MB))?);
        Ok(program)
    }

    fn cargo(&self, subcommand: &str, arguments: &[&str]) -> Command {
        let sdk = self.sdk();
        let mut command = self.tools.command(&self.tools.cargo_zigbuild());
        command
            .arg(subcommand)
            .arg("-Zbuild-std=std,panic_abort,test")
            .args(["--target", TARGET, "--target-dir"])
            .arg(self.directory.join("build"))
            .args(arguments)
            // `-Z` on a compiler that is not called nightly.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("MACOSX_DEPLOYMENT_TARGET", OLDEST_MACOS)
            // Else the compiler asks `xcrun`, which is not here.
            .env("SDKROOT", &sdk)
            .env(
                "CARGO_TARGET_AARCH64_APPLE_DARWIN_RUSTFLAGS",
                format!(
                    "-L framework={0}/System/Library/Frameworks -L native={0}/usr/lib",
                    sdk.display()
                ),
            );
        command
    }
}
