//! Whether a Linux machine is a guest on a Mac, whose GPU is close by but cannot be reached.

use super::Facts;

/// What runs the virtual machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Host {
    /// A product that could be named.
    Known(&'static str),
    /// One that could not.
    Unknown,
}

impl Host {
    /// Says why there is no GPU.
    pub(super) fn note(self) -> String {
        let whose = match self {
            Self::Known(name) => format!(" ({name})"),
            Self::Unknown => String::new(),
        };
        format!(
            "this is a Linux virtual machine on a Mac{whose}, which Metal does not reach: only its \
             CPU can be used; a worker directly on macOS offers the Mac's GPU"
        )
    }
}

/// The host if the machine is a guest on a Mac. Only 64-bit Arm guests are known, as only Macs with
/// Apple silicon have a GPU that would be missed.
pub(super) fn of_a_mac(facts: &Facts) -> Option<Host> {
    if !facts.is_arm() || facts.is_apple_hardware() {
        return None;
    }
    let dmi = |word: &str| facts.dmi_vendor.contains(word) || facts.dmi_product.contains(word);
    let kernel = |word: &str| facts.kernel.contains(word);
    // These exist on Macs only; what also exists elsewhere counts together with the processor.
    let only_on_macs = [
        (kernel("orbstack"), "OrbStack"),
        (dmi("Parallels"), "Parallels Desktop"),
        (dmi("Apple Virtualization"), "Apple's Virtualization framework"),
    ];
    let most_on_macs = [
        (kernel("linuxkit"), "Docker Desktop"),
        (facts.hostname == "lima-rancher-desktop", "Rancher Desktop"),
        (facts.hostname.starts_with("colima"), "Colima"),
        (facts.hostname.starts_with("lima-"), "Lima"),
        (dmi("VMware"), "VMware Fusion"),
    ];
    let named = |products: &[(bool, &'static str)]| {
        products.iter().find_map(|(is_it, name)| is_it.then_some(Host::Known(name)))
    };
    let of_a_mac = facts.is_apple_cpu() || facts.has_rosetta || dmi("Apple");
    let common = named(&most_on_macs);
    if let Some(host) = named(&only_on_macs) {
        return Some(common.filter(|_| dmi("Apple")).unwrap_or(host));
    }
    if of_a_mac {
        let emulator = dmi("QEMU").then_some(Host::Known("QEMU"));
        return Some(common.or(emulator).unwrap_or(Host::Unknown));
    }
    common.filter(|_| facts.is_unsigned_cpu())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change = dyn Fn(&mut Facts);

    const APPLE_CPU: &str = "processor\t: 0\nCPU implementer\t: 0x61\nCPU part\t: 0x000\n";
    /// As the Virtualization framework shows it on M1 and M2.
    const UNSIGNED_CPU: &str = "processor\t: 0\nCPU implementer\t: 0x00\nCPU part\t: 0x000\n";
    const ROSETTA_CPU: &str =
        "processor\t: 0\nvendor_id\t: VirtualApple\nmodel name\t: VirtualApple @ 2.50GHz\n";
    const ARM_CPU: &str = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n";

    fn facts(cpuinfo: &str, change: impl FnOnce(&mut Facts)) -> Facts {
        let mut facts =
            Facts { arch: "aarch64".into(), cpuinfo: cpuinfo.into(), ..Facts::default() };
        change(&mut facts);
        facts
    }

    #[test]
    fn guests_on_macs_are_recognised() {
        let docker = "6.10.14-linuxkit";
        let cases: [(&str, &Change, Host); 14] = [
            (APPLE_CPU, &|f| f.kernel = docker.into(), Host::Known("Docker Desktop")),
            (UNSIGNED_CPU, &|f| f.kernel = docker.into(), Host::Known("Docker Desktop")),
            (UNSIGNED_CPU, &|f| f.hostname = "lima-default".into(), Host::Known("Lima")),
            // Containers for x86-64, by QEMU and by Rosetta.
            (
                UNSIGNED_CPU,
                &|f| {
                    f.arch = "x86_64".into();
                    f.kernel = docker.into();
                },
                Host::Known("Docker Desktop"),
            ),
            (ROSETTA_CPU, &|f| f.arch = "x86_64".into(), Host::Unknown),
            (ARM_CPU, &|f| f.kernel = "6.12.8-orbstack-00290".into(), Host::Known("OrbStack")),
            (
                APPLE_CPU,
                &|f| f.hostname = "lima-rancher-desktop".into(),
                Host::Known("Rancher Desktop"),
            ),
            (APPLE_CPU, &|f| f.hostname = "colima".into(), Host::Known("Colima")),
            (APPLE_CPU, &|f| f.hostname = "lima-default".into(), Host::Known("Lima")),
            (
                ARM_CPU,
                &|f| {
                    f.dmi_vendor = "Apple Inc.".into();
                    f.dmi_product = "Apple Virtualization Generic Platform".into();
                },
                Host::Known("Apple's Virtualization framework"),
            ),
            (
                ARM_CPU,
                &|f| f.dmi_vendor = "Parallels International GmbH.".into(),
                Host::Known("Parallels Desktop"),
            ),
            (APPLE_CPU, &|f| f.dmi_vendor = "VMware, Inc.".into(), Host::Known("VMware Fusion")),
            (ARM_CPU, &|f| f.has_rosetta = true, Host::Unknown),
            (APPLE_CPU, &|f| f.device_tree_compatible = "linux,dummy-virt\0".into(), Host::Unknown),
        ];
        for (cpu, change, expected) in cases {
            let facts = facts(cpu, change);
            assert_eq!(of_a_mac(&facts), Some(expected), "{facts:?}");
        }
    }

    #[test]
    fn other_machines_are_not_taken_for_guests_on_macs() {
        let cases: [(&str, &Change); 8] = [
            (UNSIGNED_CPU, &|f| f.dmi_vendor = "QEMU".into()),
            (ARM_CPU, &|f| f.dmi_vendor = "Amazon EC2".into()),
            (ARM_CPU, &|f| f.kernel = "6.10.14-linuxkit".into()),
            (ARM_CPU, &|f| f.hostname = "lima-default".into()),
            (ARM_CPU, &|f| f.dmi_vendor = "VMware, Inc.".into()),
            (ARM_CPU, &|f| f.device_tree_compatible = "linux,dummy-virt\0".into()),
            (APPLE_CPU, &|f| {
                f.device_tree_compatible = "apple,j313\0apple,t8103\0apple,arm-platform\0".into();
            }),
            // An Intel Mac's guest misses no GPU of Apple's.
            ("", &|f| {
                f.arch = "x86_64".into();
                f.kernel = "6.10.14-linuxkit".into();
                f.dmi_vendor = "Apple Inc.".into();
            }),
        ];
        for (cpu, change) in cases {
            let facts = facts(cpu, change);
            assert_eq!(of_a_mac(&facts), None, "{facts:?}");
        }
    }

    #[test]
    fn the_note_names_the_product_where_it_is_known() {
        assert!(Host::Known("Lima").note().starts_with(
            "this is a Linux virtual machine on a Mac (Lima), which Metal does not reach"
        ));
        assert!(Host::Unknown.note().starts_with("this is a Linux virtual machine on a Mac, "));
    }
}
