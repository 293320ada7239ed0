//! The names of Apple's chips.

/// A chip's generation and variant, which are also its GPU's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Chip {
    /// As `M3`, or `A18` of a Mac with a chip of that series.
    pub(crate) family: String,
    /// `Pro`, `Max`, `Ultra` or nothing.
    pub(crate) variant: &'static str,
}

impl Chip {
    /// Reads a name as `Apple M3 Max`, which is how sysctl, the I/O registry, Metal and
    /// `system_profiler` call it, also with `(Virtual)` behind it.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let name = name.trim().strip_suffix("(Virtual)").unwrap_or(name).trim();
        let mut words = name.strip_prefix("Apple ")?.split_whitespace();
        let family = words.next()?;
        let digits = family.strip_prefix(['A', 'M'])?;
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let variant = match words.next() {
            None => "",
            Some("Pro") => "Pro",
            Some("Max") => "Max",
            Some("Ultra") => "Ultra",
            Some(_) => return None,
        };
        let is_whole = is_number && words.next().is_none();
        is_whole.then(|| Self { family: family.to_owned(), variant })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chips_are_read_from_their_names() {
        let parts =
            |name| Chip::parse(name).map(|chip| format!("{}/{}", chip.family, chip.variant));
        assert_eq!(parts("Apple M1").as_deref(), Some("M1/"));
        assert_eq!(parts("Apple M3 Max").as_deref(), Some("M3/Max"));
        assert_eq!(parts(" Apple M2 Ultra ").as_deref(), Some("M2/Ultra"));
        assert_eq!(parts("Apple M1 (Virtual)").as_deref(), Some("M1/"));
        assert_eq!(parts("Apple M10 Pro").as_deref(), Some("M10/Pro"));
        assert_eq!(parts("Apple A18 Pro").as_deref(), Some("A18/Pro"));
        for other in [
            "",
            "Apple",
            "Apple M",
            "Apple M3 Mega",
            "Apple M3 Max 2",
            "Apple Paravirtual device",
            "VirtualApple @ 2.50GHz",
            "Intel(R) Core(TM) i7-9750H CPU @ 2.60GHz",
            "kHW_AppleM1Item",
        ] {
            assert_eq!(parts(other), None, "{other}");
        }
    }
}
