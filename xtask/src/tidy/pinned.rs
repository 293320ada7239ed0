//! A version that is written down twice will be raised once.

use super::files::Repository;

const SDK_PIN: &str = "python/sdk.txt";

/// Checks that the SDK's version is pinned in one file only.
pub(super) fn check(repository: &Repository) -> Vec<String> {
    let pins = repository.files.iter().filter(|file| !file.is("md") && pins_the_sdk(&file.text));
    let places: Vec<&str> = pins.map(|file| file.path.as_str()).collect();
    if places == [SDK_PIN] {
        return Vec::new();
    }
    vec![format!("the SDK's version must be pinned in {SDK_PIN} only, not in {places:?}")]
}

/// True if the text asks for one exact version of the SDK.
fn pins_the_sdk(text: &str) -> bool {
    let after = text.split(concat!("beta9", "==")).skip(1);
    after.into_iter().any(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_string_is_no_pin() {
        assert!(!pins_the_sdk(&["beta9", "=={version}"].concat()));
        assert!(pins_the_sdk(&["x beta9", "==0.1"].concat()));
    }
}
