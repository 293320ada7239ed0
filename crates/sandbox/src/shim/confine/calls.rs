//! Filtering system calls.

use std::collections::BTreeMap;
use std::env::consts::ARCH;
use std::io;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, sock_filter,
};

use crate::isolation::{Errno, Test, denied, number};

/// The filters, one for each answer. Calls of a foreign ABI end the process.
pub(super) fn filters(landlock: bool) -> io::Result<Vec<BpfProgram>> {
    let arch = TargetArch::try_from(ARCH).map_err(io::Error::other)?;
    let mut filters = Vec::new();
    if arch == TargetArch::x86_64 {
        filters.push(refuse_x32());
    }
    for (errno, answer) in [(Errno::Permission, libc::EPERM), (Errno::Missing, libc::ENOSYS)] {
        let mut rules = BTreeMap::new();
        for denial in denied(landlock).into_iter().filter(|denial| denial.errno == errno) {
            if let Some(number) = number(denial.call, ARCH) {
                let cases: Result<_, _> = denial.cases.iter().map(|tests| rule(tests)).collect();
                rules.insert(number, cases.map_err(io::Error::other)?);
            }
        }
        let action = SeccompAction::Errno(answer.cast_unsigned());
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, arch);
        let program = filter.and_then(BpfProgram::try_from).map_err(io::Error::other)?;
        filters.push(program);
    }
    Ok(filters)
}

fn rule(tests: &[Test]) -> Result<SeccompRule, seccompiler::BackendError> {
    let condition = |test: &Test| {
        let (argument, operator, value) = match *test {
            Test::Is(argument, value) => (argument, SeccompCmpOp::Eq, value),
            Test::Not(argument, value) => (argument, SeccompCmpOp::Ne, value),
            Test::Bits(argument, mask, value) => {
                (argument, SeccompCmpOp::MaskedEq(mask.into()), value)
            }
        };
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value.into())
    };
    SeccompRule::new(tests.iter().map(condition).collect::<Result<_, _>>()?)
}

/// The calls of x32 have numbers of their own under the same ABI, which the other filters do not
/// know.
fn refuse_x32() -> BpfProgram {
    const X32: u32 = 0x4000_0000;
    let instruction = |code: u32, jt, jf, k| {
        let code = u16::try_from(code).unwrap_or_default();
        sock_filter { code, jt, jf, k }
    };
    vec![
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 0, 1, X32),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_KILL_PROCESS),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]
}

/// Filters the calls of this process from now on.
pub(super) fn apply(filter: &BpfProgram) -> io::Result<()> {
    seccompiler::apply_filter(filter).map_err(|error| match error {
        seccompiler::Error::Seccomp(error) | seccompiler::Error::Prctl(error) => error,
        other => io::Error::other(other),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_compile_for_this_processor() {
        for landlock in [true, false] {
            let lengths: Vec<usize> = filters(landlock).unwrap().iter().map(Vec::len).collect();
            assert!(lengths.iter().all(|length| *length > 3), "{lengths:?}");
        }
    }
}
