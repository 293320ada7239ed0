//! Accelerators: what a machine has and what a stub asks for.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Who makes an accelerator.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Vendor {
    /// Apple silicon, reached through Metal.
    Apple,
    /// NVIDIA, reached through CUDA.
    Nvidia,
}

/// An accelerator of a machine.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Device {
    /// Who makes it.
    pub vendor: Vendor,
    /// Apple: the chip generation, as `M3`. NVIDIA: the model, as `H100`.
    pub family: String,
    /// Apple: `Pro`, `Max`, `Ultra` or nothing. NVIDIA: the memory in GB, where selectors tell
    /// models apart by it, as `80` of the A100.
    pub variant: String,
    /// GPU cores; 0 if unknown.
    pub cores: u32,
    /// Memory a job may use, in MiB. Apple: the working set that Metal recommends, a part of the
    /// machine's memory. 0 if unknown.
    pub memory_mib: u64,
    /// Jobs it takes at a time; 0 counts as 1.
    pub slots: u32,
    /// `true` for a device that only pretends to be there, for tests and trying things out.
    pub simulated: bool,
}

impl Device {
    /// The name a person would give it, as `M3 Max`.
    #[must_use]
    pub fn name(&self) -> String {
        let simulated = if self.simulated { " (simulated)" } else { "" };
        let space = if self.variant.is_empty() { "" } else { " " };
        format!("{}{space}{}{simulated}", self.family, self.variant)
    }

    /// Jobs it takes at a time, at least 1.
    #[must_use]
    pub fn seats(&self) -> usize {
        usize::try_from(self.slots).unwrap_or(usize::MAX).max(1)
    }

    /// `true` if jobs that ask for so much memory together may use it at a time. An Apple GPU
    /// shares the machine's memory, but may use only part of it; another's own memory is nothing
    /// that a job asks for.
    #[must_use]
    pub fn has_memory(&self, asked_mib: u64) -> bool {
        self.vendor != Vendor::Apple || self.memory_mib == 0 || asked_mib <= self.memory_mib
    }
}

/// One acceptable kind of accelerator. Spelling does not matter: only letters and digits count.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GpuSelector(String);

impl GpuSelector {
    /// Reads a selector; nothing if the text has no letter or digit, or is `0`. A chip may have its
    /// maker's name before it, as in `Apple M3 Max`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let normal: String = text
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|c| c.to_ascii_uppercase())
            .collect();
        let chip = normal.strip_prefix("APPLE").map(|chip| Self(chip.to_owned()));
        if let Some(chip) = chip.filter(|chip| chip.apple_family().is_some()) {
            return Some(chip);
        }
        (!normal.is_empty() && normal != "0").then_some(Self(normal))
    }

    /// `true` for the words that mean any Apple GPU or one family of them. Those match only
    /// devices that a native worker on macOS reports.
    #[must_use]
    pub fn is_apple(&self) -> bool {
        matches!(self.0.as_str(), "MPS" | "METAL" | "APPLE") || self.apple_family().is_some()
    }

    /// The selector as it is compared: capital letters and digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Splits `M3MAX` into `M3` and `MAX`; nothing unless it names a chip of Apple's. Those have one
    /// digit: `M10`, `M40` and `M60` are NVIDIA's.
    #[must_use]
    pub fn apple_family(&self) -> Option<(&str, &str)> {
        let rest = self.0.strip_prefix('M')?;
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let variant = &rest[digits..];
        let known = matches!(variant, "" | "PRO" | "MAX" | "ULTRA");
        (digits == 1 && !rest.starts_with('0') && known).then(|| (&self.0[..=digits], variant))
    }

    /// `true` if the device is of the kind asked for.
    #[must_use]
    pub fn matches(&self, device: &Device) -> bool {
        match self.0.as_str() {
            "ANY" => true,
            "MPS" | "METAL" | "APPLE" => device.vendor == Vendor::Apple,
            other => match (self.apple_family(), device.vendor) {
                (Some((family, variant)), Vendor::Apple) => {
                    device.family.eq_ignore_ascii_case(family)
                        && (variant.is_empty() || device.variant.eq_ignore_ascii_case(variant))
                }
                (None, Vendor::Nvidia) => {
                    let is = |name: &str| Self::parse(name).is_some_and(|name| name.0 == other);
                    is(&device.family) || is(&format!("{}{}", device.family, device.variant))
                }
                _ => false,
            },
        }
    }
}

impl fmt::Display for GpuSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.apple_family() {
            Some((family, "PRO")) => write!(f, "{family} Pro"),
            Some((family, "MAX")) => write!(f, "{family} Max"),
            Some((family, "ULTRA")) => write!(f, "{family} Ultra"),
            _ => f.write_str(&self.0),
        }
    }
}

impl fmt::Debug for GpuSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The accelerators a stub asks for.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct GpuRequest {
    /// Acceptable kinds in order of preference; empty means no accelerator.
    pub any_of: Vec<GpuSelector>,
    /// How many; at least 1 where `any_of` is not empty.
    pub count: u32,
}

impl GpuRequest {
    /// Reads the client API's `gpu` (names joined by commas) and `gpu_count`. A count without a
    /// name means any accelerator.
    #[must_use]
    pub fn parse(gpu: &str, count: u32) -> Self {
        let mut any_of: Vec<_> = gpu.split(',').filter_map(GpuSelector::parse).collect();
        if any_of.is_empty() && count > 0 {
            any_of.extend(GpuSelector::parse("any"));
        }
        let count = if any_of.is_empty() { 0 } else { count.max(1) };
        Self { any_of, count }
    }

    /// `true` if no accelerator is asked for.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.any_of.is_empty()
    }
}

impl fmt::Display for GpuRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.any_of.iter().map(GpuSelector::to_string).collect();
        f.write_str(&names.join(" or "))?;
        if self.count > 1 {
            write!(f, " ×{}", self.count)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(vendor: Vendor, family: &str, variant: &str) -> Device {
        Device {
            vendor,
            family: family.into(),
            variant: variant.into(),
            cores: 0,
            memory_mib: 1024,
            slots: 1,
            simulated: false,
        }
    }

    #[test]
    fn an_apple_gpu_has_a_budget_where_it_is_known() {
        let mut gpu = device(Vendor::Apple, "M3", "");
        assert!(gpu.has_memory(1024) && !gpu.has_memory(1025));
        gpu.memory_mib = 0;
        assert!(gpu.has_memory(u64::MAX));
        assert!(device(Vendor::Nvidia, "T4", "").has_memory(1025), "a job asks for host memory");
    }

    #[test]
    fn spelling_does_not_matter() {
        for text in ["M3Max", "m3-max", "M3 Max", "m3_MAX", "Apple M3 Max"] {
            let selector = GpuSelector::parse(text).unwrap();
            assert!(selector.matches(&device(Vendor::Apple, "M3", "Max")), "{text}");
            assert!(!selector.matches(&device(Vendor::Apple, "M3", "")), "{text}");
        }
    }

    #[test]
    fn a_family_takes_every_variant_and_mps_every_apple_gpu() {
        let m3 = GpuSelector::parse("M3").unwrap();
        assert!(m3.matches(&device(Vendor::Apple, "M3", "Ultra")));
        assert!(!m3.matches(&device(Vendor::Apple, "M4", "")));
        let mps = GpuSelector::parse("mps").unwrap();
        assert!(mps.is_apple() && mps.matches(&device(Vendor::Apple, "M1", "")));
        assert!(!mps.matches(&device(Vendor::Nvidia, "H100", "")));
    }

    #[test]
    fn nvidia_names_are_not_taken_for_apple_ones() {
        let h100 = GpuSelector::parse("H100").unwrap();
        assert!(!h100.is_apple() && h100.matches(&device(Vendor::Nvidia, "H100", "")));
        for name in ["M4000", "M60", "M10", "M0"] {
            let tesla = GpuSelector::parse(name).unwrap();
            assert!(!tesla.is_apple() && tesla.matches(&device(Vendor::Nvidia, name, "")));
        }
    }

    #[test]
    fn an_nvidia_model_can_be_asked_for_by_its_memory() {
        let large = device(Vendor::Nvidia, "A100", "80");
        let matches = |text: &str| GpuSelector::parse(text).unwrap().matches(&large);
        assert!(matches("A100") && matches("A100-80"));
        assert!(!matches("A100-40") && !matches("80"));
    }

    #[test]
    fn a_count_alone_means_any() {
        assert!(GpuRequest::parse("", 0).is_none());
        let any = GpuRequest::parse("", 2);
        assert_eq!((any.any_of.len(), any.count), (1, 2));
        assert_eq!(GpuRequest::parse("MPS,H100", 0).to_string(), "MPS or H100");
        assert_eq!(GpuRequest::parse("m1-ultra", 2).to_string(), "M1 Ultra ×2");
    }
}
