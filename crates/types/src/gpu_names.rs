//! The names of accelerators that mean something although no machine at hand has one.

use crate::GpuSelector;

/// Names that the SDK offers, Apple's words, and NVIDIA's usual others. Only letters and digits
/// count. Apple's chips are not listed: any generation is known.
const KNOWN: [&str; 61] = [
    "any",
    "MPS",
    "METAL",
    "APPLE",
    "T4",
    "L4",
    "L40",
    "L40S",
    "A2",
    "A10",
    "A10G",
    "A16",
    "A30",
    "A40",
    "A100",
    "A100-40",
    "A100-80",
    "H100",
    "H200",
    "GH200",
    "B100",
    "B200",
    "GB200",
    "B300",
    "GB300",
    "GAUDI2",
    "GAUDI3",
    "A2000",
    "A4000",
    "A4500",
    "A5000",
    "A5500",
    "A6000",
    "RTX2080",
    "RTX2080Ti",
    "RTX3060",
    "RTX3070",
    "RTX3080",
    "RTX3090",
    "RTX3090Ti",
    "RTX4060",
    "RTX4070",
    "RTX4080",
    "RTX4090",
    "RTX5070",
    "RTX5080",
    "RTX5090",
    "RTX4000Ada",
    "RTX4500Ada",
    "RTX5000Ada",
    "RTX6000",
    "RTX6000Ada",
    "RTXPro6000",
    "P4",
    "P100",
    "P40",
    "V100",
    "V100-16",
    "V100-32",
    "TITANV",
    "GB10",
];

/// Apple's chips that have been made, to offer in place of a misspelt one.
const APPLE_CHIPS: [&str; 18] = [
    "M1", "M1 Pro", "M1 Max", "M1 Ultra", "M2", "M2 Pro", "M2 Max", "M2 Ultra", "M3", "M3 Pro",
    "M3 Max", "M3 Ultra", "M4", "M4 Pro", "M4 Max", "M5", "M5 Pro", "M5 Max",
];

/// How alike two names must be for one to be offered in place of the other.
const ALIKE: f64 = 0.6;

/// `true` if the selector names something that is known, Apple's chips apart.
#[must_use]
pub fn is_known(selector: &GpuSelector) -> bool {
    spelling(selector).is_some()
}

/// How the name of a selector is usually spelt, if it is known; Apple's chips apart.
#[must_use]
pub fn spelling(selector: &GpuSelector) -> Option<&'static str> {
    KNOWN.into_iter().find(|known| GpuSelector::parse(known).as_ref() == Some(selector))
}

/// The known name that is most similar to `name`, if one is similar enough.
#[must_use]
pub fn nearest_known(name: &str) -> Option<&'static str> {
    nearest(name, KNOWN.into_iter().chain(APPLE_CHIPS))
}

/// The one of `candidates` that is most similar to `name`, if one is similar enough.
#[must_use]
pub fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name = GpuSelector::parse(name)?;
    let alike = |known: &str| {
        GpuSelector::parse(known).map_or(0.0, |known| {
            strsim::normalized_damerau_levenshtein(name.as_str(), known.as_str())
        })
    };
    let rated = candidates.map(|candidate| (alike(candidate), candidate));
    let (rating, best) = rated.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    (rating >= ALIKE).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_gets_the_nearest_one() {
        assert_eq!(nearest_known("H10O"), Some("H100"));
        assert_eq!(nearest_known("M3-Maxx"), Some("M3 Max"));
        assert_eq!(nearest_known("rtx 409"), Some("RTX4090"));
        for none in ["potato", "", "0"] {
            assert_eq!(nearest_known(none), None, "{none}");
        }
    }

    #[test]
    fn a_known_name_has_one_spelling() {
        let spelt = |name: &str| spelling(&GpuSelector::parse(name).unwrap());
        assert_eq!(spelt("rtx3090ti"), Some("RTX3090Ti"));
        assert_eq!(spelt("a100 80"), Some("A100-80"));
        assert_eq!(spelt("potato"), None);
    }

    #[test]
    fn apple_s_chips_are_selectors_of_apple_s() {
        for chip in APPLE_CHIPS {
            assert!(GpuSelector::parse(chip).unwrap().is_apple(), "{chip}");
        }
    }
}
