//! The system calls that a container may not make: those of native isolation, as OCI says it.

use oci_spec::OciSpecError;
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder,
    LinuxSeccompBuilder, LinuxSeccompOperator, LinuxSyscall, LinuxSyscallBuilder,
};

use crate::isolation::{Denial, Errno, Test, denied};

/// Values up to which a list of all others is short enough to be written down.
const SMALL: u32 = 64;

/// The filter. A container has processes of its own, which it may trace.
pub(super) fn filter() -> Result<LinuxSeccomp, OciSpecError> {
    let mut calls = Vec::new();
    for denial in denied(true) {
        calls.extend(rules(&denial)?);
    }
    LinuxSeccompBuilder::default()
        .default_action(LinuxSeccompAction::ScmpActAllow)
        .architectures(architectures())
        .syscalls(calls)
        .build()
}

/// Calls of another kind of processor end the process, as in native isolation.
fn architectures() -> Vec<Arch> {
    if cfg!(target_arch = "aarch64") {
        vec![Arch::ScmpArchAarch64]
    } else {
        vec![Arch::ScmpArchX86_64]
    }
}

/// The rules of one call: one for each case, since all conditions of a rule hold at a time.
fn rules(denial: &Denial) -> Result<Vec<LinuxSyscall>, OciSpecError> {
    let rule = |arguments: Vec<LinuxSeccompArg>| {
        let errno = match denial.errno {
            Errno::Permission => libc::EPERM,
            Errno::Missing => libc::ENOSYS,
        };
        let rule = LinuxSyscallBuilder::default()
            .names(vec![denial.call.to_owned()])
            .action(LinuxSeccompAction::ScmpActErrno)
            .errno_ret(errno.cast_unsigned());
        if arguments.is_empty() { rule.build() } else { rule.args(arguments).build() }
    };
    if denial.cases.is_empty() {
        return Ok(vec![rule(Vec::new())?]);
    }
    let mut rules = Vec::new();
    for case in &denial.cases {
        match excluded(case) {
            // Two conditions on one argument would count as one or the other.
            Some((argument, allowed)) => {
                for condition in all_but(argument, &allowed)? {
                    rules.push(rule(vec![condition])?);
                }
            }
            None => {
                let conditions: Result<Vec<_>, _> = case.iter().map(condition).collect();
                rules.push(rule(conditions?)?);
            }
        }
    }
    Ok(rules)
}

/// The argument and the values that it must not have, if a case is nothing but several of these.
fn excluded(case: &[Test]) -> Option<(u8, Vec<u32>)> {
    let Some(Test::Not(argument, _)) = case.first() else { return None };
    let values: Option<Vec<u32>> = case
        .iter()
        .map(|test| match test {
            Test::Not(other, value) if other == argument => Some(*value),
            _ => None,
        })
        .collect();
    values.filter(|values| values.len() > 1).map(|values| (*argument, values))
}

/// Conditions of which one holds where an argument is none of these values. Nothing for values that
/// are so large that there would be too many: `personality`, which breaks out of nothing.
fn all_but(argument: u8, allowed: &[u32]) -> Result<Vec<LinuxSeccompArg>, OciSpecError> {
    if allowed.iter().any(|value| *value >= SMALL) {
        return Ok(Vec::new());
    }
    let mut conditions = Vec::new();
    for value in (0..SMALL).filter(|value| !allowed.contains(value)) {
        conditions.push(condition(&Test::Is(argument, value))?);
    }
    let above = argument_is(argument, (SMALL - 1).into(), LinuxSeccompOperator::ScmpCmpGt, None)?;
    conditions.push(above);
    Ok(conditions)
}

fn condition(test: &Test) -> Result<LinuxSeccompArg, OciSpecError> {
    match *test {
        Test::Is(argument, value) => {
            argument_is(argument, value.into(), LinuxSeccompOperator::ScmpCmpEq, None)
        }
        Test::Not(argument, value) => {
            argument_is(argument, value.into(), LinuxSeccompOperator::ScmpCmpNe, None)
        }
        Test::Bits(argument, mask, value) => {
            let masked = LinuxSeccompOperator::ScmpCmpMaskedEq;
            argument_is(argument, mask.into(), masked, Some(value.into()))
        }
    }
}

fn argument_is(
    argument: u8,
    value: u64,
    operator: LinuxSeccompOperator,
    second: Option<u64>,
) -> Result<LinuxSeccompArg, OciSpecError> {
    let built =
        LinuxSeccompArgBuilder::default().index(usize::from(argument)).value(value).op(operator);
    match second {
        Some(second) => built.value_two(second).build(),
        None => built.build(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(name: &str) -> Vec<LinuxSyscall> {
        let filter = filter().unwrap();
        let calls = filter.syscalls().clone().unwrap();
        calls.into_iter().filter(|call| call.names().iter().any(|it| it == name)).collect()
    }

    #[test]
    fn what_is_denied_always_has_one_rule_without_conditions() {
        let mount = calls("mount");
        assert_eq!(mount.len(), 1);
        assert_eq!((mount[0].errno_ret(), mount[0].args()), (Some(1), &None));
        assert_eq!(calls("clone3")[0].errno_ret(), Some(38));
        assert!(calls("ptrace").is_empty());
    }

    #[test]
    fn sockets_of_other_families_are_denied_one_by_one() {
        let denied = |family: u64| {
            calls("socket").iter().any(|call| {
                let arguments = call.args().as_ref().unwrap();
                arguments.len() == 1
                    && arguments[0].op() == LinuxSeccompOperator::ScmpCmpEq
                    && arguments[0].value() == family
            })
        };
        assert!(denied(17) && denied(0) && denied(40));
        assert!(!denied(1) && !denied(2) && !denied(10) && !denied(16));
    }

    #[test]
    fn no_rule_has_two_conditions_on_one_argument() {
        for call in filter().unwrap().syscalls().as_ref().unwrap() {
            let arguments = call.args().iter().flatten().map(LinuxSeccompArg::index);
            let mut seen: Vec<usize> = arguments.collect();
            let all = seen.len();
            seen.dedup();
            assert_eq!(seen.len(), all, "{:?}", call.names());
        }
    }
}
