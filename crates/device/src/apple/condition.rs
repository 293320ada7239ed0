//! From what a Mac tells of its state to how it is doing.

use metal9_types::{DeviceUse, Power, Thermal};

use super::Value;
use super::raw::number;
use crate::inventory::mib;

/// The grade of `com.apple.system.thermalpressurelevel`.
pub(crate) fn thermal(level: u64) -> Option<Thermal> {
    Some(match level {
        0 => Thermal::Nominal,
        1 => Thermal::Moderate,
        2 => Thermal::Heavy,
        3 => Thermal::Trapping,
        4 => Thermal::Sleeping,
        _ => return None,
    })
}

/// The source that `IOPSGetProvidingPowerSourceType` names.
pub(crate) fn power(source: &str) -> Option<Power> {
    match source {
        "AC Power" => Some(Power::Ac),
        // A UPS feeds the machine for minutes, as a battery does.
        "Battery Power" | "UPS Power" => Some(Power::Battery),
        _ => None,
    }
}

/// What an accelerator's `PerformanceStatistics` say.
pub(crate) fn usage(statistics: &Value) -> DeviceUse {
    let Value::Map(statistics) = statistics else { return DeviceUse::default() };
    let positive = |name: &str| u64::try_from(number(statistics, name)?).ok();
    DeviceUse {
        busy_percent: positive("Device Utilization %")
            .and_then(|percent| u8::try_from(percent.min(100)).ok()),
        memory_used_mib: positive("In use system memory").map(mib),
    }
}

#[cfg(test)]
mod tests {
    use super::super::captures;
    use super::super::raw::STATISTICS;
    use super::*;

    #[test]
    fn statistics_are_read_from_every_capture() {
        let expected = [
            ("m3pro-14core-trimmed", 42, 3072),
            ("m4-10core-trimmed", 30, 339),
            ("m5max-40core-trimmed", 27, 967),
        ];
        for (name, busy, memory) in expected {
            let found = captures::registry(&format!("ioreg-agx-{name}.txt"));
            let found = usage(&found[0].properties[STATISTICS]);
            let expected = DeviceUse { busy_percent: Some(busy), memory_used_mib: Some(memory) };
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn what_is_not_told_is_not_known() {
        assert_eq!(usage(&Value::Number(1)), DeviceUse::default());
        let odd = [("Device Utilization %".to_owned(), Value::Number(-1))];
        assert_eq!(usage(&Value::Map(odd.into())), DeviceUse::default());
        let odd = [("Device Utilization %".to_owned(), Value::Number(250))];
        assert_eq!(usage(&Value::Map(odd.into())).busy_percent, Some(100));
        assert_eq!(thermal(5), None);
        assert_eq!(power(""), None);
    }

    #[test]
    fn grades_and_sources_have_their_names() {
        let grades: Vec<_> = (0..5).filter_map(thermal).collect();
        assert_eq!(grades.len(), 5);
        assert!(grades.is_sorted());
        assert_eq!(power("AC Power"), Some(Power::Ac));
        assert_eq!(power("Battery Power"), Some(Power::Battery));
        assert_eq!(power("UPS Power"), Some(Power::Battery));
    }
}
