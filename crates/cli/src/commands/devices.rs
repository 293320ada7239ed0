//! `metal9 devices`: what this machine is, which GPUs it has for jobs, and how they are doing.

use std::fmt::Write as _;

use metal9_device::probe::MetalDevice;
use metal9_device::{Explanation, Gauge, Inventory, discover_with, explain, probe};
use metal9_types::{Condition, Device, DeviceUse, Machine, Power, Thermal};
use serde::Serialize;

use crate::context::Context;
use crate::failure::Failure;
use crate::output;

/// The options of `metal9 devices`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Say what this name in a function's `gpu` means, as `M3 Max`, and what here matches it
    #[arg(long, value_name = "NAME")]
    explain: Option<String>,
}

/// The machine as it is shown.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    inventory: Inventory,
    condition: Condition,
}

/// A name as it is explained.
#[derive(Serialize)]
struct Explained {
    #[serde(flatten)]
    explanation: Explanation,
    notes: Vec<String>,
}

/// Shows this machine, or explains a name.
///
/// # Errors
///
/// If stdout cannot be written to.
pub(crate) fn run(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    context.start_log("warn")?;
    let inventory = discover_with(probe::run_this_program);
    if let Some(name) = &arguments.explain {
        let explanation = explain(name, &inventory.devices);
        let explained = Explained { explanation, notes: inventory.machine.notes };
        return context.output.show(&explained, || explained.text());
    }
    let condition = Gauge::new(&inventory).look();
    let shown = Shown { inventory, condition };
    context.output.show(&shown, || shown.text())
}

impl Shown {
    fn text(&self) -> String {
        let mut text = machine(&self.inventory.machine);
        if self.inventory.memory_mib > 0 {
            let _ = writeln!(text, "memory: {} MiB", self.inventory.memory_mib);
        }
        if let Some(power) = self.condition.power {
            let _ = writeln!(text, "power: {}", power_name(power));
        }
        if let Some(thermal) = self.condition.thermal {
            let _ = writeln!(text, "thermal pressure: {}", thermal_name(thermal));
        }
        let devices = &self.inventory.devices;
        if devices.is_empty() {
            text.push_str("\nno GPU that jobs can use\n");
        } else {
            let headings = ["gpu", "cores", "memory", "in use", "busy"];
            let rows = devices
                .iter()
                .zip(&self.condition.devices)
                .map(|(device, usage)| row(device, *usage));
            let _ = write!(text, "\n{}", output::table(headings, rows));
        }
        if let Some(report) = &self.inventory.metal {
            let told: Vec<String> = report.devices.iter().map(metal).collect();
            if !told.is_empty() {
                let _ = write!(text, "\n{}", told.concat());
            }
        }
        text + &notes(&self.inventory.machine.notes)
    }
}

/// What Metal itself says of a device.
fn metal(device: &MetalDevice) -> String {
    let mib = |bytes: u64| bytes / (1024 * 1024);
    let memory = if device.has_unified_memory { "unified memory" } else { "memory of its own" };
    let computes = if device.computes { "computes" } else { "does not compute" };
    format!(
        "Metal: {}, {memory}, working set {} MiB, largest buffer {} MiB, {computes}\n",
        device.name,
        mib(device.recommended_max_working_set),
        mib(device.max_buffer_length)
    )
}

impl Explained {
    fn text(&self) -> String {
        let Explanation { selector, means, nearest, matches, .. } = &self.explanation;
        let Some(means) = means else {
            let offer = match nearest {
                Some(nearest) => format!("; did you mean `{nearest}`?"),
                None => String::new(),
            };
            return format!("`{selector}` is no GPU that metal9 knows{offer}\n");
        };
        let here = match matches.as_slice() {
            [] => format!("nothing on this machine matches\n{}", notes(&self.notes)),
            matches => format!("this machine has {}\n", matches.join(", ")),
        };
        format!("`{selector}` means {means}\n{here}")
    }
}

fn machine(machine: &Machine) -> String {
    let mut kind = vec![&machine.model, &machine.chip];
    kind.retain(|word| !word.is_empty());
    let kind: Vec<&str> = kind.into_iter().map(String::as_str).collect();
    let mut text = format!(
        "machine: {}\n",
        if kind.is_empty() { "unknown".to_owned() } else { kind.join(", ") }
    );
    let place = match (machine.is_guest_on_mac, machine.is_virtual) {
        (true, _) => " in a virtual machine on a Mac",
        (_, true) => " in a virtual machine",
        _ => "",
    };
    let _ = writeln!(text, "system: {}{place}", machine.os);
    text
}

fn row(device: &Device, usage: DeviceUse) -> [String; 5] {
    let known = |amount: Option<u64>, unit: &str| match amount {
        Some(amount) => format!("{amount}{unit}"),
        None => "-".to_owned(),
    };
    let positive = |amount: u64| (amount > 0).then_some(amount);
    [
        device.name(),
        known(positive(device.cores.into()), ""),
        known(positive(device.memory_mib), " MiB"),
        known(usage.memory_used_mib, " MiB"),
        known(usage.busy_percent.map(u64::from), " %"),
    ]
}

fn notes(notes: &[String]) -> String {
    notes.iter().fold(String::new(), |text, note| text + "note: " + note + "\n")
}

fn power_name(power: Power) -> &'static str {
    match power {
        Power::Ac => "mains",
        Power::Battery => "battery",
    }
}

fn thermal_name(thermal: Thermal) -> &'static str {
    match thermal {
        Thermal::Nominal => "nominal",
        Thermal::Moderate => "moderate",
        Thermal::Heavy => "heavy",
        Thermal::Trapping => "trapping",
        Thermal::Sleeping => "sleeping",
    }
}

/// Checks the names of devices to simulate, separated by commas, before anything is started.
///
/// # Errors
///
/// The first name that is none, with a hint.
pub(crate) fn simulated(names: &str) -> Result<String, String> {
    for name in metal9_types::names(names) {
        metal9_device::simulate(name)
            .map_err(|unknown| format!("{unknown}\n\nhint: {}", unknown.hint()))?;
    }
    Ok(names.to_owned())
}

#[cfg(test)]
mod tests {
    use metal9_device::probe::Report;
    use metal9_device::simulate;
    use serde_json::json;

    use super::*;

    fn shown(devices: &[&str]) -> Shown {
        let mut inventory = Inventory::default();
        inventory.machine = Machine {
            os: "macOS 26.4".into(),
            model: "Mac15,8".into(),
            chip: "Apple M3 Max".into(),
            notes: vec!["something is missing".into()],
            ..Machine::default()
        };
        for name in devices {
            inventory.simulate(&simulate(name).unwrap());
        }
        let usage = DeviceUse { busy_percent: Some(30), memory_used_mib: Some(339) };
        let condition = Condition {
            thermal: Some(Thermal::Nominal),
            power: Some(Power::Ac),
            devices: devices.iter().map(|_| usage).collect(),
        };
        Shown { inventory, condition }
    }

    #[test]
    fn a_machine_is_shown_with_its_devices_and_notes() {
        let expected = [
            "machine: Mac15,8, Apple M3 Max",
            "system: macOS 26.4",
            "power: mains",
            "thermal pressure: nominal",
            "",
            "GPU                 CORES  MEMORY     IN USE   BUSY",
            "M3 Max (simulated)  40     36864 MiB  339 MiB  30 %",
            "note: something is missing",
            "",
        ];
        assert_eq!(shown(&["M3 Max"]).text(), expected.join("\n"));
    }

    #[test]
    fn what_metal_says_is_shown_beside_the_machines_memory() {
        let mut shown = shown(&[]);
        shown.inventory.memory_mib = 49_152;
        let told = MetalDevice {
            name: "Apple M3 Max".into(),
            has_unified_memory: true,
            recommended_max_working_set: 36_864 << 20,
            max_buffer_length: 27_648 << 20,
            computes: true,
            ..MetalDevice::default()
        };
        let report = Report { devices: vec![told], reason: None };
        shown.inventory.metal = Some(report);
        let text = shown.text();
        assert!(text.contains("Apple M3 Max\nsystem: macOS 26.4\nmemory: 49152 MiB\n"), "{text}");
        assert!(
            text.contains(
                "\nMetal: Apple M3 Max, unified memory, working set 36864 MiB, largest buffer 27648 \
                 MiB, computes\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn a_machine_without_devices_says_so() {
        let text = shown(&[]).text();
        assert!(
            text.ends_with("\nno GPU that jobs can use\nnote: something is missing\n"),
            "{text}"
        );
        let guest = Machine { is_guest_on_mac: true, is_virtual: true, ..Machine::default() };
        assert!(machine(&guest).ends_with(" in a virtual machine on a Mac\n"));
    }

    #[test]
    fn programs_get_everything() {
        let json = serde_json::to_value(shown(&["M3 Max"])).unwrap();
        assert_eq!(json["machine"]["chip"], "Apple M3 Max");
        assert_eq!(json["devices"][0]["variant"], "Max");
        assert_eq!(json["devices"][0]["simulated"], true);
        let usage = json!({ "busy_percent": 30, "memory_used_mib": 339 });
        assert_eq!(json["condition"]["devices"], json!([usage]));
        assert_eq!(json["condition"]["thermal"], "nominal");
    }

    fn explained(name: &str) -> String {
        let inventory = shown(&["M3 Max"]).inventory;
        let explanation = explain(name, &inventory.devices);
        Explained { explanation, notes: inventory.machine.notes }.text()
    }

    #[test]
    fn a_name_is_explained() {
        assert_eq!(
            explained("m3-max"),
            "`m3-max` means Apple M3 Max GPUs that a worker directly on macOS offers\n\
             this machine has M3 Max (simulated)\n"
        );
        assert_eq!(
            explained("H100"),
            "`H100` means GPUs of the model H100\n\
             nothing on this machine matches\nnote: something is missing\n"
        );
        assert_eq!(
            explained("M3 Mox"),
            "`M3 Mox` is no GPU that metal9 knows; did you mean `M3 Max`?\n"
        );
        assert_eq!(explained("potato"), "`potato` is no GPU that metal9 knows\n");
    }
}
