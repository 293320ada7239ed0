//! Apple's chips, to simulate their GPUs.

use metal9_types::Vendor;

use super::Simulated;
use crate::apple::Chip;
use crate::inventory::device;

const CAPTURE: &str = "cores from a capture of a real one, memory from the maker's specification";
const SPECIFICATION: &str = "the maker's specification";
const GUESS: &str = "a guess: neither a capture nor a specification of it was at hand";

/// Name, GPU cores, memory of the machine in GiB, and where the cores are from. Where a chip was
/// sold with several numbers of cores, and no capture says which, it is the highest; the memory is
/// the least that was sold with it.
const CHIPS: [(&str, u32, u64, &str); 18] = [
    ("M1", 7, 8, CAPTURE),
    ("M1 Pro", 16, 16, CAPTURE),
    ("M1 Max", 32, 32, CAPTURE),
    ("M1 Ultra", 64, 64, SPECIFICATION),
    ("M2", 10, 8, SPECIFICATION),
    ("M2 Pro", 19, 16, SPECIFICATION),
    ("M2 Max", 30, 32, CAPTURE),
    ("M2 Ultra", 76, 64, SPECIFICATION),
    ("M3", 10, 8, SPECIFICATION),
    ("M3 Pro", 14, 18, CAPTURE),
    ("M3 Max", 40, 48, CAPTURE),
    ("M3 Ultra", 80, 96, SPECIFICATION),
    ("M4", 10, 16, CAPTURE),
    ("M4 Pro", 20, 24, SPECIFICATION),
    ("M4 Max", 40, 48, SPECIFICATION),
    ("M5", 10, 16, CAPTURE),
    ("M5 Pro", 20, 24, GUESS),
    ("M5 Max", 40, 48, CAPTURE),
];

/// Every chip by name.
pub(super) fn all() -> impl Iterator<Item = (&'static str, Simulated)> {
    CHIPS.iter().filter_map(|&(name, cores, gib, basis)| {
        let chip = Chip::parse(&format!("Apple {name}"))?;
        let total_memory_mib = gib * 1024;
        let working_set = working_set(total_memory_mib);
        let device = device(Vendor::Apple, (&chip.family, chip.variant), cores, working_set);
        let simulated =
            Simulated { device, total_memory_mib, recommended_working_set_mib: working_set, basis };
        Some((name, simulated))
    })
}

/// About what Metal recommends to use on a machine with so much memory. Of a real machine this is
/// read and never computed.
fn working_set(total_mib: u64) -> u64 {
    // Seen: 21845 MiB of 32 GiB, three quarters above that.
    if total_mib <= 32 * 1024 { total_mib * 2 / 3 } else { total_mib * 3 / 4 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apple::{Raw, Value, captures, inventory};

    #[test]
    fn captured_chips_have_the_cores_of_their_captures() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/captures");
        let mut compared = Vec::new();
        for entry in std::fs::read_dir(directory).unwrap() {
            let file = entry.unwrap().file_name().into_string().unwrap();
            let brand = ("machdep.cpu.brand_string", Value::Text("Apple M0".into()));
            let mut raw = Raw { sysctl: captures::sysctl(&[brand]), ..Raw::default() };
            if file.starts_with("ioreg") {
                raw.accelerators = captures::registry(&file);
            } else if file.starts_with("system_profiler") {
                raw.displays = Some(captures::read(&file));
            } else {
                continue;
            }
            let found = inventory(&raw);
            let name = found.devices[0].name();
            let (_, cores, _, basis) =
                CHIPS.iter().find(|(chip, ..)| *chip == name).unwrap_or_else(|| panic!("{name}"));
            assert_eq!(*cores, found.devices[0].cores, "{file}");
            assert_eq!(*basis, CAPTURE, "{file}");
            compared.push(name);
        }
        let captured = CHIPS.iter().filter(|(.., basis)| *basis == CAPTURE);
        for (name, ..) in captured {
            assert!(compared.iter().any(|it| it == name), "there is no capture of {name}");
        }
    }

    #[test]
    fn the_working_set_is_as_it_was_seen() {
        assert_eq!(working_set(32 * 1024), 21_845);
        assert_eq!(working_set(64 * 1024), 49_152);
    }
}
