//! From what a Mac tells to what it is and has.

use metal9_types::{Machine, Vendor};

use super::{Chip, Raw, displays};
use crate::Inventory;
use crate::inventory::{Source, device, mib};

/// What the facts mean.
pub(crate) fn inventory(raw: &Raw) -> Inventory {
    let memory_mib = mib(u64::try_from(raw.number("hw.memsize")).unwrap_or(0));
    let mut inventory = Inventory { machine: machine(raw), memory_mib, ..Inventory::default() };
    let brand = raw.text("machdep.cpu.brand_string");
    if raw.number("sysctl.proc_translated") == 1 {
        inventory.note(
            "this metal9 was built for Intel and runs under Rosetta, which hides the chip: use the \
             build for Apple silicon",
        );
    } else if !brand.is_empty() && !brand.starts_with("Apple ") {
        inventory.note(format!("only the GPUs of Apple silicon are offered; this Mac has {brand}"));
    } else {
        add_gpus(raw, &mut inventory);
    }
    inventory
}

fn machine(raw: &Raw) -> Machine {
    let version = raw.text("kern.osproductversion");
    Machine {
        os: format!("macOS {version}").trim_end().to_owned(),
        model: raw.text("hw.model").to_owned(),
        chip: raw.text("machdep.cpu.brand_string").to_owned(),
        is_virtual: raw.is_virtual(),
        ..Machine::default()
    }
}

fn add_gpus(raw: &Raw, inventory: &mut Inventory) {
    // The chip names the GPU, which is on the same die, wherever the GPU does not name itself.
    let chip = Chip::parse(raw.text("machdep.cpu.brand_string"));
    // The memory that jobs may use is Metal's to say, unless the owner has set it.
    let memory_mib = u64::try_from(raw.number("iogpu.wired_limit_mb")).unwrap_or(0);
    let mut told = displays::parse(raw.displays.as_deref().unwrap_or_default()).into_iter();
    for gpu in raw.accelerators.iter().filter(|gpu| gpu.is_apple_gpu()) {
        let cores = gpu.number("gpu-core-count").and_then(|cores| u32::try_from(cores).ok());
        let cores = cores.or_else(|| told.next().map(|gpu| gpu.cores)).unwrap_or(0);
        match gpu.text("model").and_then(Chip::parse).or_else(|| chip.clone()) {
            Some(chip) => {
                let made = device(Vendor::Apple, (&chip.family, chip.variant), cores, memory_mib);
                inventory.add(made, Source::Registry(gpu.id));
            }
            None => inventory.note(format!(
                "the GPU `{}` is not offered: its name is not that of a known kind of chip",
                gpu.text("model").unwrap_or(&gpu.class)
            )),
        }
    }
    if !raw.accelerators.iter().any(|gpu| gpu.is_apple_gpu()) && !raw.is_virtual() {
        for gpu in told {
            let chip = Chip::parse(&gpu.model).or_else(|| chip.clone());
            let Some(chip) = chip else { continue };
            let made = device(Vendor::Apple, (&chip.family, chip.variant), gpu.cores, memory_mib);
            inventory.add(made, Source::Registry(0));
        }
    }
    if inventory.devices.is_empty() && inventory.machine.notes.is_empty() {
        let why = if raw.is_virtual() {
            "this is a virtual machine, whose paravirtual display device is no GPU that jobs can use"
        } else {
            "macOS lists no GPU of this chip (no AGXAccelerator in its I/O registry)"
        };
        inventory.note(why);
    }
}

#[cfg(test)]
mod tests {
    use super::super::captures::{self, sysctl};
    use super::super::raw::{Accelerator, Value};
    use super::*;

    fn mac(brand: &str) -> Raw {
        Raw {
            sysctl: sysctl(&[
                ("machdep.cpu.brand_string", Value::Text(brand.into())),
                ("hw.model", Value::Text("Mac16,11".into())),
                ("kern.osproductversion", Value::Text("26.4".into())),
                ("hw.memsize", Value::Number(68_719_476_736)),
                ("kern.hv_vmm_present", Value::Number(0)),
                ("iogpu.wired_limit_mb", Value::Number(0)),
            ]),
            ..Raw::default()
        }
    }

    fn names(inventory: &Inventory) -> Vec<String> {
        inventory.devices.iter().map(|it| format!("{} {}", it.name(), it.cores)).collect()
    }

    #[test]
    fn the_registry_names_the_gpu_and_counts_its_cores() {
        let captures = [
            ("m3pro-14core-trimmed", "Apple M3 Pro", "M3 Pro 14", 0),
            ("m4-10core-trimmed", "Apple M4", "M4 10", 0x1_0000_039c),
            ("m5max-40core-trimmed", "Apple M5 Max", "M5 Max 40", 0),
        ];
        for (name, brand, expected, id) in captures {
            let accelerators = captures::registry(&format!("ioreg-agx-{name}.txt"));
            let raw = Raw { accelerators, ..mac(brand) };
            assert!(!raw.lacks_accelerators(), "{name}");
            let found = inventory(&raw);
            assert_eq!(names(&found), [expected]);
            assert_eq!(found.sources, [Source::Registry(id)]);
            assert!(found.needs_probe() && found.machine.notes.is_empty());
            assert_eq!((found.devices[0].memory_mib, found.memory_mib), (0, 64 * 1024));
            let machine = found.machine;
            assert_eq!(
                (machine.os.as_str(), machine.model.as_str(), machine.chip.as_str()),
                ("macOS 26.4", "Mac16,11", brand)
            );
            assert!(!machine.is_virtual);
        }
    }

    #[test]
    fn system_profiler_stands_in_for_a_silent_registry() {
        let raw = mac("Apple M3 Max");
        assert!(raw.lacks_accelerators());
        let displays = captures::read("system_profiler-m3max-40core-macos26.5-trimmed.json");
        let found = inventory(&Raw { displays: Some(displays), ..raw });
        assert_eq!(names(&found), ["M3 Max 40"]);
        assert!(found.needs_probe());

        let silent = Accelerator { class: "AGXAcceleratorG13X".into(), ..Accelerator::default() };
        let displays = captures::read("system_profiler-m1max-32core-2displays.json");
        let raw =
            Raw { accelerators: vec![silent], displays: Some(displays), ..mac("Apple M1 Max") };
        assert!(raw.lacks_accelerators());
        assert_eq!(names(&inventory(&raw)), ["M1 Max 32"]);
    }

    #[test]
    fn the_owner_s_limit_is_the_memory_until_metal_speaks() {
        let mut raw = mac("Apple M4");
        raw.accelerators = captures::registry("ioreg-agx-m4-10core-trimmed.txt");
        raw.sysctl.extend(sysctl(&[("iogpu.wired_limit_mb", Value::Number(14_000))]));
        assert_eq!(inventory(&raw).devices[0].memory_mib, 14_000);
    }

    #[test]
    fn a_virtual_machine_has_no_gpu_and_says_why() {
        let mut raw = mac("Apple M1 (Virtual)");
        raw.sysctl.extend(sysctl(&[("kern.hv_vmm_present", Value::Number(1))]));
        raw.accelerators =
            vec![Accelerator { class: "AppleParavirtGPU".into(), ..Accelerator::default() }];
        assert!(!raw.lacks_accelerators());
        let found = inventory(&raw);
        assert!(found.devices.is_empty() && found.machine.is_virtual && !found.needs_probe());
        assert!(found.machine.notes[0].contains("virtual machine"), "{:?}", found.machine.notes);
    }

    #[test]
    fn other_macs_say_why_they_offer_nothing() {
        let intel = inventory(&mac("Intel(R) Core(TM) i7-9750H CPU @ 2.60GHz"));
        assert!(
            intel.machine.notes[0]
                .ends_with("this Mac has Intel(R) Core(TM) i7-9750H CPU @ 2.60GHz")
        );
        let mut raw = mac("VirtualApple @ 2.50GHz");
        raw.sysctl.extend(sysctl(&[("sysctl.proc_translated", Value::Number(1))]));
        assert!(inventory(&raw).machine.notes[0].contains("Rosetta"));
        let without = inventory(&mac("Apple M4"));
        assert!(without.machine.notes[0].contains("AGXAccelerator"));
        for found in [intel, without] {
            assert!(found.devices.is_empty());
            assert_eq!(found.machine.notes.len(), 1);
        }
    }
}
