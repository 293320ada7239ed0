//! Holding PyTorch and MLX to a job's memory, by variables that are set before any of its code runs.
//!
//! Both allocate as much as Metal recommends for the whole machine, and more, unless they are told
//! otherwise. The container is ended if it uses too much all the same; with a limit of its own the
//! library first gives back what it has cached, and then raises an error that can be caught.

use std::collections::BTreeMap;

use serde_json::Value;

/// What the job was given, as JSON; there if it was given anything.
const DEVICES: &str = "METAL9_DEVICES";

/// MiB that the job may use; our runner tells MLX, which reads no variables.
const MEMORY: &str = "METAL9_GPU_MEMORY_MIB";

/// The most that PyTorch allocates, as a part of what Metal recommends. 0 would be no limit.
const MOST: &str = "PYTORCH_MPS_HIGH_WATERMARK_RATIO";

/// From here on PyTorch gives back what it has cached. It refuses to start if this is above the
/// other, and its default of 1.4 is, so one is never set without the other.
const MUCH: &str = "PYTORCH_MPS_LOW_WATERMARK_RATIO";

/// Whether PyTorch calculates on the processor what Metal lacks.
const FALLBACK: &str = "PYTORCH_ENABLE_MPS_FALLBACK";

/// Adds what a job with an Apple GPU needs; `asked_mib` is 0 for a job that did not say.
pub(super) fn limit(variables: &mut BTreeMap<String, String>, asked_mib: u64) {
    // Nobody but us says so.
    variables.remove(MEMORY);
    let devices = variables.get(DEVICES).and_then(|text| serde_json::from_str::<Value>(text).ok());
    let Some(recommended) = devices.as_ref().and_then(recommended) else { return };
    // Silently slow is worse than an error that says what to change.
    variables.entry(FALLBACK.to_owned()).or_insert_with(|| "0".to_owned());
    let budget = match (asked_mib, recommended) {
        (0, most) | (most, 0) => most,
        (asked, most) => asked.min(most),
    };
    if budget == 0 {
        return;
    }
    variables.insert(MEMORY.to_owned(), budget.to_string());
    if recommended > 0 {
        let [most, much] = ratios(budget, recommended);
        variables.insert(MOST.to_owned(), most);
        variables.insert(MUCH.to_owned(), much);
    }
}

/// What Metal recommends for the Apple GPU of a job, in MiB: 0 if that is not known, nothing if the
/// job has none.
fn recommended(devices: &Value) -> Option<u64> {
    let apple = devices.as_array()?.iter().find(|device| device["vendor"] == "apple")?;
    Some(apple["memory_mib"].as_u64().unwrap_or(0))
}

/// The watermarks, in ten-thousandths rounded down.
fn ratios(budget: u64, recommended: u64) -> [String; 2] {
    let most = (u128::from(budget) * 10_000 / u128::from(recommended)).max(10);
    [most, most * 9 / 10].map(|parts| format!("{}.{:04}", parts / 10_000, parts % 10_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    const M3_MAX: &str = r#"[{"vendor":"apple","family":"M3","variant":"Max","memory_mib":49152}]"#;

    fn limited(variables: &[(&str, &str)], asked_mib: u64) -> BTreeMap<String, String> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut variables = variables.iter().map(owned).collect();
        limit(&mut variables, asked_mib);
        variables.remove(DEVICES);
        variables
    }

    fn expect(variables: &BTreeMap<String, String>, wanted: &[(&str, &str)]) {
        let found: Vec<(&str, &str)> =
            variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn the_request_is_the_limit_of_both_libraries() {
        expect(
            &limited(&[(DEVICES, M3_MAX)], 8192),
            &[(MEMORY, "8192"), (FALLBACK, "0"), (MOST, "0.1666"), (MUCH, "0.1499")],
        );
    }

    #[test]
    fn more_than_metal_recommends_or_no_request_is_what_it_recommends() {
        for asked in [0, 49152, 1 << 40] {
            expect(
                &limited(&[(DEVICES, M3_MAX)], asked),
                &[(MEMORY, "49152"), (FALLBACK, "0"), (MOST, "1.0000"), (MUCH, "0.9000")],
            );
        }
    }

    #[test]
    fn a_tiny_request_is_a_limit_still() {
        let variables = limited(&[(DEVICES, M3_MAX)], 1);
        assert_eq!((&*variables[MOST], &*variables[MUCH]), ("0.0010", "0.0009"));
    }

    #[test]
    fn users_may_let_operations_fall_back_but_not_lift_their_limit() {
        let variables =
            limited(&[(DEVICES, M3_MAX), (FALLBACK, "1"), (MOST, "0.0"), (MEMORY, "999999")], 8192);
        assert_eq!(variables[FALLBACK], "1");
        assert_eq!((&*variables[MOST], &*variables[MEMORY]), ("0.1666", "8192"));
    }

    #[test]
    fn without_the_recommendation_only_mlx_can_be_limited() {
        let unknown = r#"[{"vendor":"apple","memory_mib":0}]"#;
        expect(&limited(&[(DEVICES, unknown)], 512), &[(MEMORY, "512"), (FALLBACK, "0")]);
        expect(&limited(&[(DEVICES, unknown)], 0), &[(FALLBACK, "0")]);
    }

    #[test]
    fn other_jobs_are_left_alone() {
        let h100 = r#"[{"vendor":"nvidia","family":"H100","memory_mib":81920}]"#;
        for devices in [h100, "[]", "nonsense", "{}"] {
            expect(&limited(&[(DEVICES, devices)], 512), &[]);
        }
        expect(&limited(&[(MEMORY, "5")], 512), &[]);
    }
}
