//! What a Linux kernel tells of its machine, unjudged.

use std::fs;
use std::path::Path;

/// The contents of the files that tell; empty where there is none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// The architecture, as `aarch64`.
    pub(crate) arch: String,
    /// `/etc/os-release`.
    pub(crate) os_release: String,
    /// The kernel's release, as `6.10.14-linuxkit`.
    pub(crate) kernel: String,
    pub(crate) hostname: String,
    /// `/proc/cpuinfo`.
    pub(crate) cpuinfo: String,
    /// `/proc/meminfo`.
    pub(crate) meminfo: String,
    pub(crate) dmi_vendor: String,
    pub(crate) dmi_product: String,
    pub(crate) device_tree_model: String,
    /// Names that end with a NUL each, the most specific first.
    pub(crate) device_tree_compatible: String,
    /// `/sys/hypervisor/type`, as `xen`.
    pub(crate) hypervisor: String,
    /// `true` if x86-64 programs are given to Rosetta, which only macOS lends to its guests.
    pub(crate) has_rosetta: bool,
}

impl Facts {
    /// Reads them from the file systems mounted under `root`.
    pub(crate) fn read(root: &Path) -> Self {
        let read = |path: &str| {
            let bytes = fs::read(root.join(path)).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes);
            text.trim_matches(|c: char| c.is_whitespace() || c == '\0').to_owned()
        };
        let formats = root.join("proc/sys/fs/binfmt_misc");
        Self {
            arch: std::env::consts::ARCH.to_owned(),
            os_release: read("etc/os-release"),
            kernel: read("proc/sys/kernel/osrelease"),
            hostname: read("proc/sys/kernel/hostname"),
            cpuinfo: read("proc/cpuinfo"),
            meminfo: read("proc/meminfo"),
            dmi_vendor: read("sys/class/dmi/id/sys_vendor"),
            dmi_product: read("sys/class/dmi/id/product_name"),
            device_tree_model: read("proc/device-tree/model"),
            device_tree_compatible: read("proc/device-tree/compatible"),
            hypervisor: read("sys/hypervisor/type"),
            has_rosetta: formats.join("rosetta").exists(),
        }
    }

    /// The system and its version.
    pub(super) fn os(&self) -> String {
        let value = |key: &str| {
            let of_key = |line: &&str| line.split_once('=').is_some_and(|(name, _)| name == key);
            let line = self.os_release.lines().find(of_key)?;
            Some(line.split_once('=')?.1.trim_matches('"').to_owned())
        };
        value("PRETTY_NAME")
            .or_else(|| value("NAME"))
            .unwrap_or_else(|| format!("Linux {}", self.kernel).trim_end().to_owned())
    }

    /// The machine's memory, in MiB; 0 if unknown.
    pub(crate) fn memory_mib(&self) -> u64 {
        let total = self.meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
        let kib = total.and_then(|it| it.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kib.unwrap_or(0) / 1024
    }

    /// What `/proc/cpuinfo` says of the first processor; empty if nothing.
    pub(super) fn cpu(&self, name: &str) -> &str {
        let fields = self.cpuinfo.lines().filter_map(|line| line.split_once(':'));
        let mut values = fields.filter(|(key, _)| key.trim() == name);
        values.next().map_or("", |(_, value)| value.trim())
    }

    /// `true` on a processor of Apple's, also as a guest sees it.
    pub(super) fn is_apple_cpu(&self) -> bool {
        // 0x61 is Apple's implementer code in Arm's main id register.
        self.cpu("CPU implementer") == "0x61" || self.is_translated()
    }

    /// `true` if the register that says who made the processor is empty. Apple's Virtualization
    /// framework shows it so on M1 and M2; QEMU's emulated `max` is the other one that has nothing.
    pub(super) fn is_unsigned_cpu(&self) -> bool {
        self.cpu("CPU implementer") == "0x00"
    }

    /// `true` for an x86-64 program that Rosetta runs on a Mac.
    fn is_translated(&self) -> bool {
        self.cpu("model name").starts_with("VirtualApple")
    }

    /// `true` if the machine below is 64-bit Arm, whatever this program was built for: an x86-64
    /// container on such a machine sees the processor's own file.
    pub(super) fn is_arm(&self) -> bool {
        self.arch == "aarch64" || !self.cpu("CPU implementer").is_empty() || self.is_translated()
    }

    /// `true` if the kernel runs on Apple's hardware itself.
    pub(super) fn is_apple_hardware(&self) -> bool {
        self.device_tree_compatible.split('\0').any(|name| name.starts_with("apple,"))
    }

    /// `true` in any virtual machine that shows itself.
    pub(super) fn is_virtual(&self) -> bool {
        // Makers of virtual machines, as their firmware names them.
        const MAKERS: [&str; 13] = [
            "QEMU",
            "KVM",
            "VMware",
            "VirtualBox",
            "innotek",
            "Xen",
            "Parallels",
            "Apple Virtualization",
            "Google Compute Engine",
            "Virtual Machine",
            "OpenStack",
            "Alibaba Cloud ECS",
            "BHYVE",
        ];
        let dmi = format!("{} {}", self.dmi_vendor, self.dmi_product);
        // Amazon also lends whole machines.
        let is_amazon = self.dmi_vendor == "Amazon EC2" && !self.dmi_product.ends_with(".metal");
        self.cpu("flags").split(' ').any(|flag| flag == "hypervisor")
            || !self.hypervisor.is_empty()
            || self.device_tree_compatible.contains("linux,dummy-virt")
            || is_amazon
            || MAKERS.iter().any(|maker| dmi.contains(maker))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_machines_are_known_by_their_firmware() {
        let is_virtual = |vendor: &str, product: &str| {
            let (dmi_vendor, dmi_product) = (vendor.into(), product.into());
            Facts { dmi_vendor, dmi_product, ..Facts::default() }.is_virtual()
        };
        assert!(is_virtual("Amazon EC2", "c7g.large") && !is_virtual("Amazon EC2", "c7g.metal"));
        assert!(is_virtual("QEMU", "Standard PC (Q35 + ICH9, 2009)"));
        assert!(is_virtual("Microsoft Corporation", "Virtual Machine"));
        assert!(!is_virtual("Microsoft Corporation", "Surface Pro"));
        assert!(!is_virtual("", ""));
    }

    #[test]
    fn facts_are_read_from_files_and_need_none() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert_eq!(Facts::read(root.path()).os(), "Linux");
        write("proc/sys/kernel/osrelease", "6.10.14-linuxkit\n");
        assert_eq!(Facts::read(root.path()).os(), "Linux 6.10.14-linuxkit");
        write("etc/os-release", "NAME=Alpine\nPRETTY_NAME=\"Alpine Linux v3.20\"\n");
        write("proc/device-tree/model", "linux,dummy-virt\0");
        write("proc/device-tree/compatible", "linux,dummy-virt\0");
        write("proc/sys/fs/binfmt_misc/rosetta", "enabled\n");
        write("proc/cpuinfo", "processor\t: 0\nCPU implementer\t: 0x61\n\nprocessor\t: 1\n");
        write("proc/meminfo", "MemTotal:       24689720 kB\nMemFree:         1024 kB\n");
        let facts = Facts::read(root.path());
        assert_eq!((facts.memory_mib(), Facts::default().memory_mib()), (24_111, 0));
        assert_eq!(facts.os(), "Alpine Linux v3.20");
        assert_eq!(facts.device_tree_model, "linux,dummy-virt");
        assert!(facts.is_virtual() && facts.has_rosetta && facts.is_apple_cpu());
        assert!(!facts.is_apple_hardware());
    }
}
