//! A version that is written down twice will be raised once.

use super::files::{Repository, TextFile};
use crate::pins;

/// The one file with the SDK's version.
const SDK_PIN: &str = "python/sdk.txt";

/// Checks that the SDK's version is written down in one file only. Prose may name it.
pub(super) fn check(repository: &Repository) -> Vec<String> {
    let pin = pins::SDK.trim();
    let others = repository.files.iter().filter(|file| file.path != SDK_PIN && repeats(file, pin));
    others.map(|file| format!("{}: the SDK's version belongs in {SDK_PIN}", file.path)).collect()
}

fn repeats(file: &TextFile, pin: &str) -> bool {
    if file.is("md") {
        return false;
    }
    let version = pin.rsplit("==").next().unwrap_or(pin);
    // In Rust, a bare version is an example in a comment or a test.
    let bare = file.is("py") || file.is("toml") || file.is("sh") || file.is("yml");
    file.text.contains(pin) || (bare && file.text.contains(version))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repeated(path: &str, text: &str) -> bool {
        repeats(&TextFile { path: path.into(), text: text.into() }, "sdk==1.2.3")
    }

    #[test]
    fn the_pin_is_found_wherever_it_would_be_forgotten() {
        assert!(repeated("a.rs", "const PIN: &str = \"sdk==1.2.3\";"));
        assert!(repeated("a.py", "CALLER = 'cli/1.2.3'"));
        assert!(repeated("a.toml", "test = ['sdk==1.2.3']"));
    }

    #[test]
    fn examples_and_prose_may_name_a_version() {
        assert!(!repeated("a.rs", "/// As `1.2.3`."));
        assert!(!repeated("a.rs", "format!(\"sdk=={version}\")"));
        assert!(!repeated("a.md", "works with sdk==1.2.3"));
    }
}
