//! What a linker must know of macOS' frameworks: which names they export.
//!
//! Apple's own lists come with Xcode and cannot be had here. The crates that bind the frameworks
//! declare every name that can be used through them, so the lists are made from their sources, as
//! text-based stubs (`.tbd`). A name that is declared wrongly in such a crate is not noticed.

mod externs;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;

use externs::Externs;

/// A library that is linked against.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Library {
    Framework(String),
    /// `/usr/lib/libobjc.A.dylib`, the Objective-C runtime.
    Objc,
}

/// Beginnings of names, for crates that declare names of several frameworks without saying whose
/// each is.
const PREFIXES: [(&str, &str); 12] = [
    ("CF", "CoreFoundation"),
    ("kCF", "CoreFoundation"),
    ("__CF", "CoreFoundation"),
    ("IO", "IOKit"),
    ("kIO", "IOKit"),
    ("MTL", "Metal"),
    ("NS", "Foundation"),
    ("Sec", "Security"),
    ("kSec", "Security"),
    ("SSL", "Security"),
    ("SC", "SystemConfiguration"),
    ("kSC", "SystemConfiguration"),
];

impl Library {
    fn by_name(symbol: &str) -> Option<Self> {
        let found = PREFIXES.iter().find(|(prefix, _)| symbol.starts_with(prefix));
        found.map(|(_, framework)| Self::Framework((*framework).to_owned()))
    }

    /// Where the stub is put, below the directory that stands for the system's root.
    fn stub(&self) -> PathBuf {
        match self {
            Self::Framework(name) => {
                format!("System/Library/Frameworks/{name}.framework/{name}.tbd").into()
            }
            Self::Objc => "usr/lib/libobjc.tbd".into(),
        }
    }

    /// Where the library is on a Mac.
    fn installed(&self) -> String {
        match self {
            Self::Framework(name) => {
                format!("/System/Library/Frameworks/{name}.framework/Versions/A/{name}")
            }
            Self::Objc => "/usr/lib/libobjc.A.dylib".to_owned(),
        }
    }
}

/// Which names each library exports.
type Exports = BTreeMap<Library, BTreeSet<String>>;

/// Writes the stubs of all libraries that the packages of `metadata` link against into `sdk`.
///
/// # Errors
///
/// If the metadata is not cargo's, or a file cannot be read or written.
pub(super) fn write(metadata: &str, sdk: &Path) -> Result<()> {
    let metadata: Value = serde_json::from_str(metadata).context("not cargo's metadata")?;
    let packages = metadata["packages"].as_array().context("cargo's metadata has no packages")?;
    let mut exports = Exports::new();
    for package in packages {
        let manifest = package["manifest_path"].as_str().context("a package has no manifest")?;
        let root = Path::new(manifest).parent().context("a manifest is in no directory")?;
        assign(&read(root)?, &mut exports);
    }
    let _ = fs::remove_dir_all(sdk);
    fs::create_dir_all(sdk.join("usr/lib"))?;
    for (library, symbols) in &exports {
        let path = sdk.join(library.stub());
        fs::create_dir_all(path.parent().unwrap_or(sdk))?;
        fs::write(&path, text(library, symbols))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Adds what one package declares.
fn assign(externs: &Externs, exports: &mut Exports) {
    for library in &externs.libraries {
        exports.entry(library.clone()).or_default();
    }
    let only = externs.libraries.iter().next().filter(|_| externs.libraries.len() == 1);
    for (symbol, library) in &externs.symbols {
        let library = library.clone().or_else(|| only.cloned());
        // Names of no framework are the C library's, which the linker knows.
        if let Some(library) = library.or_else(|| Library::by_name(symbol))
            && externs.libraries.contains(&library)
        {
            exports.entry(library).or_default().insert(symbol.clone());
        }
    }
}

/// What all Rust files of a package declare.
fn read(root: &Path) -> Result<Externs> {
    let mut externs = Externs::default();
    if let Ok(script) = fs::read_to_string(root.join("build.rs")) {
        externs.read_build_script(&script);
    }
    let mut directories = vec![root.join("src")];
    while let Some(directory) = directories.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries {
            let path =
                entry.with_context(|| format!("cannot read {}", directory.display()))?.path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                externs.read_file(&fs::read_to_string(&path).unwrap_or_default());
            }
        }
    }
    Ok(externs)
}

/// A stub in version 4 of the format.
fn text(library: &Library, symbols: &BTreeSet<String>) -> String {
    let mut text =
        String::from("--- !tapi-tbd\ntbd-version:     4\ntargets:         [ arm64-macos ]\n");
    let _ = writeln!(text, "install-name:    '{}'", library.installed());
    if !symbols.is_empty() {
        let names: Vec<String> = symbols.iter().map(|symbol| format!("_{symbol}")).collect();
        let list = names.join(",\n                       ");
        let _ = write!(
            text,
            "exports:\n  - targets:         [ arm64-macos ]\n    symbols:         [ {list} ]\n"
        );
    }
    text.push_str("...\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framework(name: &str) -> Library {
        Library::Framework(name.to_owned())
    }

    fn exports(source: &str) -> Exports {
        let (mut externs, mut exports) = (Externs::default(), Exports::new());
        externs.read_file(source);
        assign(&externs, &mut exports);
        exports
    }

    #[test]
    fn names_belong_to_the_only_framework_of_their_crate() {
        let exports = exports(
            r#"#[link(name = "Metal", kind = "framework")] extern "C" {}
               pub extern "C-unwind" fn a() { extern "C-unwind" { fn MTLCopyAllDevices(); } }
               extern "C" { pub static CFUnusual: u32; }"#,
        );
        let names = &exports[&framework("Metal")];
        assert_eq!(names.iter().collect::<Vec<_>>(), ["CFUnusual", "MTLCopyAllDevices"]);
    }

    #[test]
    fn of_several_frameworks_the_block_or_else_the_name_tells_whose_it_is() {
        let exports = exports(
            r#"#[link(name = "IOKit", kind = "framework")] extern "C" { fn IOObjectRelease(); }
               #[link(name = "CoreFoundation", kind = "framework")] extern "C" {}
               extern "C" { fn CFRelease(); fn getpid(); }"#,
        );
        assert!(exports[&framework("IOKit")].contains("IOObjectRelease"));
        assert_eq!(exports[&framework("CoreFoundation")].len(), 1);
    }

    #[test]
    fn a_stub_names_its_library_and_what_it_exports() {
        let symbols = ["a", "b"].map(str::to_owned).into();
        assert_eq!(
            text(&framework("Metal"), &symbols),
            "--- !tapi-tbd\n\
             tbd-version:     4\n\
             targets:         [ arm64-macos ]\n\
             install-name:    '/System/Library/Frameworks/Metal.framework/Versions/A/Metal'\n\
             exports:\n  \
               - targets:         [ arm64-macos ]\n    \
                 symbols:         [ _a,\n                       _b ]\n\
             ...\n"
        );
        assert!(!text(&Library::Objc, &BTreeSet::new()).contains("exports"));
    }
}
