//! From a product's name to the name that selectors use.

/// Words that tell how a device is built in or what for, not which one it is.
const FORM: [&str; 20] = [
    "NVIDIA",
    "TESLA",
    "QUADRO",
    "GEFORCE",
    "GRID",
    "GPU",
    "PCIE",
    "NVL",
    "SXM",
    "SXM2",
    "SXM3",
    "SXM4",
    "SXM5",
    "SXM6",
    "SFF",
    "GENERATION",
    "EDITION",
    "WORKSTATION",
    "SERVER",
    "BLACKWELL",
];

/// Models that exist with two sizes of memory that selectors tell apart, with the smaller one in
/// GB, the larger one, and the size in MiB from which it is the larger one.
const SIZED: [(&str, &str, &str, u64); 2] =
    [("A100", "40", "80", 60_000), ("V100", "16", "32", 24_000)];

/// The family and the variant of a product, as (`A100`, `80`) of `NVIDIA A100-SXM4-80GB`.
pub(crate) fn kind(product: &str, memory_mib: u64) -> (String, &'static str) {
    let words = product.split(|c: char| c.is_whitespace() || c == '-').filter(|it| tells(it));
    let mut family = String::new();
    for word in words {
        // `RTX A6000` is called A6000; `RTX 6000` keeps the letters.
        let is_a_model =
            word.starts_with('A') && word[1..].starts_with(|c: char| c.is_ascii_digit());
        if family == "RTX" && is_a_model {
            family.clear();
        }
        family.push_str(&capitals(word));
    }
    if family.is_empty() {
        family.push_str(product.trim());
    }
    let sized = SIZED.iter().find(|(name, ..)| *name == family);
    let variant = sized.map_or("", |(_, small, large, from)| match memory_mib {
        0 => "",
        size if size < *from => small,
        _ => large,
    });
    (family, variant)
}

/// `true` for a word that says which device it is.
fn tells(word: &str) -> bool {
    let upper = word.to_ascii_uppercase();
    let digits = upper.trim_start_matches(|c: char| c.is_ascii_digit());
    // `80GB` is a size, `16Q` the share of a virtual one, `HBM3` the kind of memory.
    let is_size = digits.len() < upper.len() && matches!(digits, "GB" | "Q" | "C" | "B" | "A");
    !word.is_empty() && !is_size && !upper.starts_with("HBM") && !FORM.contains(&upper.as_str())
}

/// `SUPER` and `PRO` as words, everything else as it is.
fn capitals(word: &str) -> String {
    match word {
        "SUPER" => "Super".to_owned(),
        "PRO" => "Pro".to_owned(),
        _ => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use metal9_types::{GpuSelector, Vendor};

    use super::*;
    use crate::inventory::device;

    /// Names as NVML gives them, the memory in MiB, and selectors that must match.
    const PRODUCTS: [(&str, u64, &[&str]); 36] = [
        ("Tesla T4", 15_360, &["T4"]),
        ("NVIDIA L4", 23_034, &["L4"]),
        ("NVIDIA L40", 46_068, &["L40"]),
        ("NVIDIA L40S", 46_068, &["L40S"]),
        ("NVIDIA A2", 15_356, &["A2"]),
        ("NVIDIA A10", 23_028, &["A10"]),
        ("NVIDIA A10G", 23_028, &["A10G", "a10g"]),
        ("NVIDIA A16", 15_356, &["A16"]),
        ("NVIDIA A30", 24_576, &["A30"]),
        ("NVIDIA A40-48Q", 49_152, &["A40"]),
        ("NVIDIA A100-SXM4-40GB", 40_960, &["A100", "A100-40"]),
        ("NVIDIA A100-PCIE-40GB", 40_960, &["A100", "A100-40"]),
        ("NVIDIA A100 80GB PCIe", 81_920, &["A100", "A100-80"]),
        ("NVIDIA H100 80GB HBM3", 81_559, &["H100"]),
        ("NVIDIA H100 PCIe", 81_559, &["H100"]),
        ("NVIDIA H100 NVL", 95_830, &["H100"]),
        ("NVIDIA H200", 143_771, &["H200"]),
        ("NVIDIA GH200 480GB", 97_871, &["GH200"]),
        ("NVIDIA B200", 183_359, &["B200"]),
        ("NVIDIA GB10", 122_502, &["GB10"]),
        ("Tesla V100-SXM2-16GB", 16_384, &["V100", "V100-16"]),
        ("Tesla V100-SXM2-32GB", 32_768, &["V100", "V100-32"]),
        ("Tesla P100-PCIE-16GB", 16_280, &["P100"]),
        ("Tesla P40", 24_576, &["P40"]),
        ("NVIDIA GeForce RTX 2080 Ti", 11_264, &["RTX2080Ti"]),
        ("NVIDIA GeForce RTX 3090", 24_576, &["RTX3090", "rtx-3090"]),
        ("NVIDIA GeForce RTX 4090", 24_564, &["RTX4090", "RTX 4090"]),
        ("NVIDIA GeForce RTX 4070 Ti SUPER", 16_376, &["RTX4070TiSuper"]),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", 16_376, &["RTX4090Laptop"]),
        ("NVIDIA GeForce RTX 5090", 32_607, &["RTX5090"]),
        ("NVIDIA RTX A6000", 49_140, &["A6000"]),
        ("Quadro RTX 6000", 24_576, &["RTX6000"]),
        ("NVIDIA RTX 6000 Ada Generation", 49_140, &["RTX6000Ada"]),
        ("NVIDIA RTX 4000 SFF Ada Generation", 20_475, &["RTX4000Ada"]),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", 97_887, &["RTXPro6000"]),
        ("NVIDIA TITAN V", 12_288, &["TITANV"]),
    ];

    #[test]
    fn every_product_answers_to_its_selectors_and_to_no_other_product_s() {
        for (product, memory, selectors) in PRODUCTS {
            let (family, variant) = kind(product, memory);
            let found = device(Vendor::Nvidia, (&family, variant), 0, memory);
            for selector in selectors {
                let selector = GpuSelector::parse(selector).unwrap();
                assert!(selector.matches(&found), "{product}: {selector} but {family} {variant}");
                assert!(!selector.is_apple());
            }
            let others = PRODUCTS.iter().flat_map(|(.., of_it)| of_it.iter());
            for other in others.filter(|other| !selectors.contains(other)) {
                let other = GpuSelector::parse(other).unwrap();
                let is_mine = selectors.iter().any(|it| GpuSelector::parse(it).unwrap() == other);
                assert!(is_mine || !other.matches(&found), "{product} must not match {other}");
            }
        }
    }

    #[test]
    fn a_name_of_nothing_but_form_is_kept_whole() {
        assert_eq!(kind("NVIDIA GPU", 1).0, "NVIDIA GPU");
        assert_eq!(kind("", 1), (String::new(), ""));
    }

    #[test]
    fn a_size_that_is_not_known_is_none() {
        assert_eq!(kind("NVIDIA A100 80GB PCIe", 0), ("A100".to_owned(), ""));
    }
}
