//! Linux: the machine from files under `/proc` and `/sys`, accelerators from NVML.

mod facts;
mod guest;
#[cfg(target_os = "linux")]
mod system;

use metal9_types::Machine;

pub(crate) use facts::Facts;
#[cfg(target_os = "linux")]
pub(crate) use system::{System, boot_session, discover};

/// What the facts say of the machine.
fn machine(facts: &Facts) -> Machine {
    let host = guest::of_a_mac(facts);
    let chip = match facts.cpu("model name") {
        "" if facts.is_apple_cpu() => "Apple silicon",
        name => name,
    };
    let model =
        [&facts.dmi_product, &facts.device_tree_model].into_iter().find(|it| !it.is_empty());
    let mut machine = Machine {
        os: facts.os(),
        model: model.cloned().unwrap_or_default(),
        chip: chip.to_owned(),
        is_virtual: host.is_some() || facts.is_virtual(),
        is_guest_on_mac: host.is_some(),
        simulated: false,
        notes: Vec::new(),
    };
    if let Some(host) = host {
        machine.notes.push(host.note());
    } else if facts.is_apple_hardware() {
        machine.notes.push(
            "this Mac runs Linux, where Metal does not exist: its GPU needs macOS".to_owned(),
        );
    }
    machine
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_described_by_what_its_files_say() {
        let facts = Facts {
            os_release: "NAME=\"Debian\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n".into(),
            cpuinfo: "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu hypervisor sse\n"
                .into(),
            dmi_product: "KVM".into(),
            arch: "x86_64".into(),
            ..Facts::default()
        };
        let machine = machine(&facts);
        assert_eq!(machine.os, "Debian GNU/Linux 12 (bookworm)");
        assert_eq!((machine.chip.as_str(), machine.model.as_str()), ("AMD EPYC", "KVM"));
        assert!(machine.is_virtual && !machine.is_guest_on_mac);
        assert!(machine.notes.is_empty());
    }

    #[test]
    fn linux_on_the_bare_mac_says_why_there_is_no_gpu() {
        let facts = Facts {
            arch: "aarch64".into(),
            cpuinfo: "CPU implementer\t: 0x61\n".into(),
            device_tree_compatible: "apple,j313\0apple,t8103\0apple,arm-platform\0".into(),
            device_tree_model: "Apple MacBook Air (M1, 2020)".into(),
            ..Facts::default()
        };
        let machine = machine(&facts);
        assert!(!machine.is_virtual && !machine.is_guest_on_mac);
        assert_eq!(machine.model, "Apple MacBook Air (M1, 2020)");
        assert_eq!(machine.notes.len(), 1);
        assert!(machine.notes[0].contains("needs macOS"));
    }
}
