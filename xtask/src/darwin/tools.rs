//! The compiler and the linker for another system.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::python::Venv;
use crate::{apt, pins, run};

/// Rust with the sources of its library, and what strips a program: `rust-web-*` of Debian stable is
/// newer than its plain `rustc`. The versions move together; [`Tools::ensure`] checks that.
const PACKAGES: [&str; 5] =
    ["rustc-web", "cargo-web", "rust-web-src", "rust-web-clippy", "llvm-22"];

/// Where Debian puts programs.
const PROGRAMS: &str = "/usr/bin";

/// The sources of the standard library.
const SOURCES: &str = "/usr/lib/rustlib/src/rust/library/std/src/lib.rs";

/// Strips debugging information; the compiler calls it by the name of rustup's own copy.
const STRIP: &str = "/usr/bin/llvm-objcopy-22";

/// Variables of the cargo and the rustup that run this program, which are not for the other cargo.
const NOT_INHERITED: [&str; 8] = [
    "CARGO",
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_PATH",
    "CARGO_TARGET_DIR",
    "LD_LIBRARY_PATH",
    "RUSTC",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
];

/// Everything that is needed, installed.
pub(super) struct Tools {
    /// The Python environment with zig.
    zig: PathBuf,
    /// Programs under the names by which the compiler looks for them.
    renamed: PathBuf,
}

/// Why the tools cannot be had, if they cannot.
pub(super) fn obstacle() -> Result<Option<String>> {
    if missing().is_empty() || apt::install(&PACKAGES)? {
        return Ok(None);
    }
    Ok(Some(format!(
        "there is no {}; on Debian run `apt-get install {}` as root",
        missing().join(", "),
        PACKAGES.join(" ")
    )))
}

fn missing() -> Vec<String> {
    let programs = ["cargo", "rustc", "clippy-driver"].map(|name| format!("{PROGRAMS}/{name}"));
    let needed = programs.into_iter().chain([SOURCES.to_owned(), STRIP.to_owned()]);
    needed.filter(|path| !Path::new(path).exists()).collect()
}

impl Tools {
    /// Installs what is missing; nothing happens if all is there.
    ///
    /// # Errors
    ///
    /// If something cannot be installed, or does not fit together.
    pub(super) fn ensure() -> Result<Self> {
        let directory = crate::root().join("target/tools");
        let tools = Self { zig: directory.join("zig"), renamed: directory.join("darwin") };
        tools.install_zig()?;
        fs::create_dir_all(&tools.renamed).context("cannot make target/tools/darwin")?;
        let strip = tools.renamed.join("rust-objcopy");
        let _ = fs::remove_file(&strip);
        symlink(STRIP, &strip).with_context(|| format!("cannot make {}", strip.display()))?;
        tools.require_version()?;
        Ok(tools)
    }

    fn install_zig(&self) -> Result<()> {
        let wanted = format!("{}\n{}\n", pins::ZIG, pins::CARGO_ZIGBUILD);
        let stamp = self.zig.join("up-to-date");
        if fs::read_to_string(&stamp).is_ok_and(|have| have == wanted) {
            return Ok(());
        }
        println!("installing {} and {}", pins::ZIG, pins::CARGO_ZIGBUILD);
        let venv = Venv::ensure()?;
        let uv = venv.bin().join("uv");
        let mut make = Command::new(&uv);
        make.args(["venv", "--clear", "--python"]).arg(venv.bin().join("python")).arg(&self.zig);
        run::quietly("uv venv", &mut make)?;
        let mut install = Command::new(&uv);
        install.args(["pip", "install", pins::ZIG, pins::CARGO_ZIGBUILD, "--python"]);
        run::quietly("uv pip install", install.arg(self.zig.join("bin/python")))?;
        fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))
    }

    /// The workspace says which Rust it needs; Debian's may be older some day, or elsewhere.
    fn require_version(&self) -> Result<()> {
        let rustc = Path::new(PROGRAMS).join("rustc");
        let version = run::output(self.command(&rustc).arg("--version")).unwrap_or_default();
        let wanted = env!("CARGO_PKG_RUST_VERSION");
        let minor = |text: &str| text.split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok());
        if minor(&version) < minor(wanted) {
            bail!("{} is {}; Rust {wanted} is needed", rustc.display(), version.trim());
        }
        Ok(())
    }

    pub(super) fn cargo(&self) -> PathBuf {
        Path::new(PROGRAMS).join("cargo")
    }

    pub(super) fn clippy_driver(&self) -> PathBuf {
        Path::new(PROGRAMS).join("clippy-driver")
    }

    pub(super) fn cargo_zigbuild(&self) -> PathBuf {
        self.zig.join("bin/cargo-zigbuild")
    }

    /// A program that finds Debian's compiler before any other, working in the repository.
    pub(super) fn command(&self, program: &Path) -> Command {
        let bin = self.zig.join("bin");
        let path = [self.renamed.as_path(), &bin, Path::new(PROGRAMS), Path::new("/bin")];
        let path: Vec<_> = path.iter().map(|part| part.as_os_str()).collect();
        let mut command = Command::new(program);
        command.current_dir(crate::root()).env("PATH", path.join(std::ffi::OsStr::new(":")));
        for variable in NOT_INHERITED {
            command.env_remove(variable);
        }
        command
    }
}
