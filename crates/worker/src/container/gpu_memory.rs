//! Holding PyTorch and MLX to a job's memory, by variables that are set before any of its code runs.
//!
//! Both allocate as much as Metal recommends for the whole machine, and more, unless they are told
//! otherwise. The container is ended if it uses too much all the same; with a limit of its own the
//! library first gives back what it has cached, and then raises an error that can be caught.

use std::collections::BTreeMap;

use metal9_types::{Device, Vendor};

/// MiB that the job may use; our runner tells MLX, which reads no variables.
const MEMORY: &str = "METAL9_GPU_MEMORY_MIB";

/// The most that PyTorch allocates, as a part of what Metal recommends. 0 would be no limit.
const MOST: &str = "PYTORCH_MPS_HIGH_WATERMARK_RATIO";

/// From here on PyTorch gives back what it has cached. It refuses to start if this is above the
/// other, and its default of 1.4 is, so one is never set without the other.
const MUCH: &str = "PYTORCH_MPS_LOW_WATERMARK_RATIO";

/// Whether PyTorch calculates on the processor what Metal lacks.
const FALLBACK: &str = "PYTORCH_ENABLE_MPS_FALLBACK";

/// Adds what a job that was given an Apple GPU needs; `asked_mib` is 0 for a job that did not say.
pub(super) fn limit<'d>(
    variables: &mut BTreeMap<String, String>,
    given: impl IntoIterator<Item = &'d Device>,
    asked_mib: u64,
) {
    // Nobody but us says so.
    variables.remove(MEMORY);
    let apple = given.into_iter().find(|device| device.vendor == Vendor::Apple);
    // 0 if it is not known what Metal recommends.
    let Some(recommended) = apple.map(|device| device.memory_mib) else { return };
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

/// The watermarks, in ten-thousandths rounded down.
fn ratios(budget: u64, recommended: u64) -> [String; 2] {
    let most = (u128::from(budget) * 10_000 / u128::from(recommended)).max(10);
    [most, most * 9 / 10].map(|parts| format!("{}.{:04}", parts / 10_000, parts % 10_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    const M3_MAX_MIB: u64 = 49152;

    fn device(vendor: Vendor, memory_mib: u64) -> Device {
        Device {
            vendor,
            family: String::new(),
            variant: String::new(),
            cores: 0,
            memory_mib,
            slots: 1,
            simulated: false,
        }
    }

    fn limited(
        given: &[Device],
        variables: &[(&str, &str)],
        asked_mib: u64,
    ) -> BTreeMap<String, String> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut variables = variables.iter().map(owned).collect();
        limit(&mut variables, given, asked_mib);
        variables
    }

    fn limited_on_a_mac(variables: &[(&str, &str)], asked_mib: u64) -> BTreeMap<String, String> {
        limited(&[device(Vendor::Apple, M3_MAX_MIB)], variables, asked_mib)
    }

    fn expect(variables: &BTreeMap<String, String>, wanted: &[(&str, &str)]) {
        let found: Vec<(&str, &str)> =
            variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn the_request_is_the_limit_of_both_libraries() {
        expect(
            &limited_on_a_mac(&[], 8192),
            &[(MEMORY, "8192"), (FALLBACK, "0"), (MOST, "0.1666"), (MUCH, "0.1499")],
        );
    }

    #[test]
    fn more_than_metal_recommends_or_no_request_is_what_it_recommends() {
        for asked in [0, M3_MAX_MIB, 1 << 40] {
            expect(
                &limited_on_a_mac(&[], asked),
                &[(MEMORY, "49152"), (FALLBACK, "0"), (MOST, "1.0000"), (MUCH, "0.9000")],
            );
        }
    }

    #[test]
    fn a_tiny_request_is_a_limit_still() {
        let variables = limited_on_a_mac(&[], 1);
        assert_eq!((&*variables[MOST], &*variables[MUCH]), ("0.0010", "0.0009"));
    }

    #[test]
    fn users_may_let_operations_fall_back_but_not_lift_their_limit() {
        let theirs = [(FALLBACK, "1"), (MOST, "0.0"), (MEMORY, "999999")];
        let variables = limited_on_a_mac(&theirs, 8192);
        assert_eq!(variables[FALLBACK], "1");
        assert_eq!((&*variables[MOST], &*variables[MEMORY]), ("0.1666", "8192"));
    }

    #[test]
    fn without_the_recommendation_only_mlx_can_be_limited() {
        let unknown = [device(Vendor::Apple, 0)];
        expect(&limited(&unknown, &[], 512), &[(MEMORY, "512"), (FALLBACK, "0")]);
        expect(&limited(&unknown, &[], 0), &[(FALLBACK, "0")]);
    }

    #[test]
    fn other_jobs_are_left_alone() {
        expect(&limited(&[device(Vendor::Nvidia, 81920)], &[], 512), &[]);
        expect(&limited(&[], &[], 512), &[]);
        expect(&limited(&[], &[(MEMORY, "5")], 512), &[]);
    }

    #[test]
    fn an_apple_gpu_counts_wherever_it_stands() {
        let mixed = [device(Vendor::Nvidia, 81920), device(Vendor::Apple, M3_MAX_MIB)];
        assert_eq!(limited(&mixed, &[], 8192)[MEMORY], "8192");
    }
}
