//! What a selector would match.

use metal9_types::{Device, GpuSelector, gpu_names};
use serde::Serialize;

/// What a selector means, and what it meets on a machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The selector as it was given.
    pub selector: String,
    /// How it is compared: upper case, letters and digits only; empty if nothing is left.
    pub compared_as: String,
    /// The kinds of device that it means, in words; nothing if no device is known by that name.
    pub means: Option<String>,
    /// The name that was perhaps meant, if it means nothing.
    pub nearest: Option<&'static str>,
    /// The names of the devices at hand that it matches.
    pub matches: Vec<String>,
}

/// Explains a selector, as a stub's `gpu` lists them, against the devices at hand.
#[must_use]
pub fn explain(text: &str, devices: &[Device]) -> Explanation {
    let selector = GpuSelector::parse(text);
    let matching = |device: &&Device| selector.as_ref().is_some_and(|it| it.matches(device));
    let matches: Vec<String> = devices.iter().filter(matching).map(Device::name).collect();
    let means = selector.as_ref().and_then(|selector| means(selector, !matches.is_empty()));
    let nearest = if means.is_none() { gpu_names::nearest_known(text) } else { None };
    Explanation {
        selector: text.to_owned(),
        compared_as: selector.map(|it| it.as_str().to_owned()).unwrap_or_default(),
        means,
        nearest,
        matches,
    }
}

fn means(selector: &GpuSelector, is_here: bool) -> Option<String> {
    let name = selector.as_str();
    Some(match (name, selector.apple_family()) {
        ("ANY", _) => "any GPU".to_owned(),
        ("MPS" | "METAL" | "APPLE", _) => {
            "any Apple GPU that a worker directly on macOS offers".to_owned()
        }
        (_, Some((family, ""))) => format!(
            "Apple {family} GPUs of every variant ({family}, {family} Pro, {family} Max, \
             {family} Ultra) that a worker directly on macOS offers"
        ),
        (_, Some((family, variant))) => {
            let (first, rest) = variant.split_at(1);
            let variant = format!("{first}{}", rest.to_ascii_lowercase());
            format!("Apple {family} {variant} GPUs that a worker directly on macOS offers")
        }
        _ if is_here || gpu_names::is_known(selector) => {
            let known = gpu_names::spelling(selector).unwrap_or(name);
            format!("GPUs of the model {known}")
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate;

    fn explained(text: &str, names: &[&str]) -> Explanation {
        let devices: Vec<Device> = names.iter().map(|it| simulate(it).unwrap().device).collect();
        explain(text, &devices)
    }

    #[test]
    fn a_variant_is_that_variant_whatever_its_spelling() {
        let found = explained("m3-MAX", &["M3 Max", "M3 Pro", "H100"]);
        assert_eq!(found.compared_as, "M3MAX");
        let means = found.means.unwrap();
        assert!(means.starts_with("Apple M3 Max GPUs that a worker directly on macOS"), "{means}");
        assert_eq!(found.matches, ["M3 Max (simulated)"]);
    }

    #[test]
    fn a_family_names_its_variants() {
        let found = explained("M3", &["M3 Max", "M3 Pro", "M4"]);
        assert!(found.means.unwrap().contains("(M3, M3 Pro, M3 Max, M3 Ultra)"));
        assert_eq!(found.matches.len(), 2);
    }

    #[test]
    fn nvidia_names_and_words_for_many_are_known() {
        assert_eq!(explained("any", &["T4", "M1"]).matches.len(), 2);
        assert_eq!(explained("mps", &["T4", "M1"]).matches, ["M1 (simulated)"]);
        let found = explained("rtx-4090", &[]);
        assert_eq!(found.means.as_deref(), Some("GPUs of the model RTX4090"));
        assert!(found.matches.is_empty());
    }

    #[test]
    fn an_unknown_name_means_nothing_but_resembles_something() {
        let found = explained("M3 Mox", &["M3 Max"]);
        assert_eq!((found.means, found.nearest), (None, Some("M3 Max")));
        let found = explained("--", &["M3 Max"]);
        assert_eq!((found.compared_as.as_str(), found.means, found.nearest), ("", None, None));
    }
}
