//! Which system calls a job may not make.
//!
//! A list of what is denied, not of what is allowed: what is here either needs rights that no job
//! has, so that it serves attacks on the kernel only, or would undo the isolation. The rest stays
//! as it is, because jobs are anybody's programs.

/// What a denied call answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Errno {
    /// As for somebody without the right.
    Permission,
    /// As an older kernel, so that programs do it in another way.
    Missing,
}

/// A condition on an argument's lower 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Test {
    /// It is this.
    Is(u8, u32),
    /// It is not this.
    Not(u8, u32),
    /// The bits of the first number are those of the second.
    Bits(u8, u32, u32),
}

/// A system call, what it answers and when: all of the tests of one of the cases hold. No case
/// means always.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Denial {
    pub(crate) call: &'static str,
    pub(crate) errno: Errno,
    pub(crate) cases: Vec<Vec<Test>>,
}

/// The calls with their numbers on x86-64 and on aarch64, which lacks some.
const NUMBERS: &[(&str, i64, Option<i64>)] = &[
    ("acct", 163, Some(89)),
    ("add_key", 248, Some(217)),
    ("bpf", 321, Some(280)),
    ("chroot", 161, Some(51)),
    ("clock_adjtime", 305, Some(266)),
    ("clock_settime", 227, Some(112)),
    ("clone", 56, Some(220)),
    ("clone3", 435, Some(435)),
    ("delete_module", 176, Some(106)),
    ("fanotify_init", 300, Some(262)),
    ("finit_module", 313, Some(273)),
    ("fsconfig", 431, Some(431)),
    ("fsmount", 432, Some(432)),
    ("fsopen", 430, Some(430)),
    ("fspick", 433, Some(433)),
    ("init_module", 175, Some(105)),
    ("io_uring_enter", 426, Some(426)),
    ("io_uring_register", 427, Some(427)),
    ("io_uring_setup", 425, Some(425)),
    ("ioctl", 16, Some(29)),
    ("ioprio_set", 251, Some(30)),
    ("ioperm", 173, None),
    ("iopl", 172, None),
    ("kcmp", 312, Some(272)),
    ("kexec_file_load", 320, Some(294)),
    ("kexec_load", 246, Some(104)),
    ("keyctl", 250, Some(219)),
    ("lookup_dcookie", 212, Some(18)),
    ("mknod", 133, None),
    ("mknodat", 259, Some(33)),
    ("mount", 165, Some(40)),
    ("mount_setattr", 442, Some(442)),
    ("move_mount", 429, Some(429)),
    ("name_to_handle_at", 303, Some(264)),
    ("nfsservctl", 180, Some(42)),
    ("open_by_handle_at", 304, Some(265)),
    ("open_tree", 428, Some(428)),
    ("open_tree_attr", 467, Some(467)),
    ("perf_event_open", 298, Some(241)),
    ("personality", 135, Some(92)),
    ("pidfd_getfd", 438, Some(438)),
    ("pivot_root", 155, Some(41)),
    ("prlimit64", 302, Some(261)),
    ("process_madvise", 440, Some(440)),
    ("process_vm_readv", 310, Some(270)),
    ("process_vm_writev", 311, Some(271)),
    ("ptrace", 101, Some(117)),
    ("quotactl", 179, Some(60)),
    ("quotactl_fd", 443, Some(443)),
    ("reboot", 169, Some(142)),
    ("request_key", 249, Some(218)),
    ("setns", 308, Some(268)),
    ("setpriority", 141, Some(140)),
    ("settimeofday", 164, Some(170)),
    ("socket", 41, Some(198)),
    ("swapoff", 168, Some(225)),
    ("swapon", 167, Some(224)),
    ("sysfs", 139, None),
    ("_sysctl", 156, None),
    ("syslog", 103, Some(116)),
    ("umount2", 166, Some(39)),
    ("unshare", 272, Some(97)),
    ("uselib", 134, None),
    ("userfaultfd", 323, Some(282)),
    ("ustat", 136, None),
    ("vhangup", 153, Some(58)),
];

/// The number of a call on a processor named as Rust names it; `None` if it has no such call.
#[cfg_attr(
    all(not(target_os = "linux"), not(test)),
    expect(dead_code, reason = "the filter is for Linux")
)]
pub(crate) fn number(call: &str, arch: &str) -> Option<i64> {
    let (_, x86_64, aarch64) = NUMBERS.iter().find(|(name, ..)| *name == call)?;
    match arch {
        "x86_64" => Some(*x86_64),
        "aarch64" => *aarch64,
        _ => None,
    }
}

/// Denied whatever the arguments.
const ALWAYS: &[&str] = &[
    // The clock, the machine, its modules and its memory are everybody's.
    "acct",
    "clock_adjtime",
    "clock_settime",
    "delete_module",
    "finit_module",
    "init_module",
    "ioperm",
    "iopl",
    "kexec_file_load",
    "kexec_load",
    "quotactl",
    "quotactl_fd",
    "reboot",
    "settimeofday",
    "swapoff",
    "swapon",
    "syslog",
    "vhangup",
    // Another view of the file system, or a way around the present one.
    "chroot",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "mount",
    "mount_setattr",
    "move_mount",
    "name_to_handle_at",
    "open_by_handle_at",
    "open_tree",
    "open_tree_attr",
    "pivot_root",
    "setns",
    "umount2",
    "fanotify_init",
    // Other processes' memory and descriptors.
    "kcmp",
    "pidfd_getfd",
    "process_madvise",
    "process_vm_readv",
    "process_vm_writev",
    // Not divided among jobs: keyrings belong to the user.
    "add_key",
    "keyctl",
    "request_key",
    // Large parts of the kernel that jobs rarely need and attackers like.
    "bpf",
    "lookup_dcookie",
    "nfsservctl",
    "perf_event_open",
    "sysfs",
    "_sysctl",
    "uselib",
    "userfaultfd",
    "ustat",
];

/// Denied as if the kernel did not have them. `clone3` because its flags cannot be looked at: the
/// C library uses `clone` instead. `io_uring` because it does what other calls do, unfiltered.
const MISSING: &[&str] = &["clone3", "io_uring_enter", "io_uring_register", "io_uring_setup"];

/// The flags of `clone` and `unshare` that make namespaces: mount, cgroup, uts, ipc, user, pid, net.
const NAMESPACES: [u32; 7] =
    [0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000];

/// The time namespace, which `clone` has no flag for.
const TIME_NAMESPACE: u32 = 0x80;

/// Families of sockets: Unix, IPv4, IPv6, and netlink, of which only routes.
const FAMILIES: [u32; 4] = [1, 2, 10, NETLINK];
const NETLINK: u32 = 16;
const NETLINK_ROUTE: u32 = 0;

/// What `personality` may be asked for: what it is, or Linux as ever or with an old version number.
const PERSONALITIES: [u32; 5] = [0, 0x8, 0x0002_0000, 0x0002_0008, u32::MAX];

/// `ioctl`s that put words into a terminal as if somebody had typed them.
const TERMINAL_INJECTION: [u32; 2] = [0x5412, 0x541C];

/// Limits of other processes, and priorities of a whole user: those are decided by the user alone,
/// and jobs are the worker's user.
const OWN: u32 = 0;
const PRIORITY_OF_USER: u32 = 2;
const IO_PRIORITY_OF_USER: u32 = 3;

/// Kinds of files that `mknod` makes: devices.
const FILE_KIND: u32 = 0o170_000;
const DEVICE_KINDS: [u32; 2] = [0o020_000, 0o060_000];

/// All that is denied. Where Landlock keeps a job from others' processes it may trace its own.
pub(crate) fn denied(landlock: bool) -> Vec<Denial> {
    let whole = |calls: &[&'static str], errno| -> Vec<Denial> {
        calls.iter().map(|call| Denial { call, errno, cases: Vec::new() }).collect()
    };
    let mut denied = whole(ALWAYS, Errno::Permission);
    denied.extend(whole(MISSING, Errno::Missing));
    if !landlock {
        denied.extend(whole(&["ptrace"], Errno::Permission));
    }
    let mut when = |call, cases| denied.push(Denial { call, errno: Errno::Permission, cases });

    let each = |tests: &mut dyn Iterator<Item = Test>| tests.map(|test| vec![test]).collect();
    when("clone", each(&mut NAMESPACES.into_iter().map(|flag| Test::Bits(0, flag, flag))));
    let flags = NAMESPACES.into_iter().chain([TIME_NAMESPACE]);
    when("unshare", each(&mut flags.map(|flag| Test::Bits(0, flag, flag))));
    when("ioctl", each(&mut TERMINAL_INJECTION.into_iter().map(|request| Test::Is(1, request))));
    when("personality", vec![PERSONALITIES.map(|known| Test::Not(0, known)).into()]);
    when(
        "socket",
        vec![
            FAMILIES.map(|family| Test::Not(0, family)).into(),
            vec![Test::Is(0, NETLINK), Test::Not(2, NETLINK_ROUTE)],
        ],
    );
    when("prlimit64", vec![vec![Test::Not(0, OWN)]]);
    when("setpriority", vec![vec![Test::Is(0, PRIORITY_OF_USER)]]);
    when("ioprio_set", vec![vec![Test::Is(0, IO_PRIORITY_OF_USER)]]);
    for (call, mode) in [("mknod", 1), ("mknodat", 2)] {
        when(call, each(&mut DEVICE_KINDS.iter().map(|kind| Test::Bits(mode, FILE_KIND, *kind))));
    }
    denied.sort_by_key(|denial| (denial.errno, denial.call));
    denied
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn what_is_denied_is_this() {
        let mut text = String::new();
        for Denial { call, errno, cases } in denied(false) {
            let _ = write!(text, "{errno:?} {call}");
            for tests in cases {
                let tests: Vec<String> = tests
                    .iter()
                    .map(|test| match test {
                        Test::Is(argument, value) => format!("{argument}={value:#x}"),
                        Test::Not(argument, value) => format!("{argument}!={value:#x}"),
                        Test::Bits(argument, mask, value) => {
                            format!("{argument}&{mask:#x}={value:#x}")
                        }
                    })
                    .collect();
                let _ = write!(text, " [{}]", tests.join(" "));
            }
            text.push('\n');
        }
        assert_eq!(text, include_str!("denied.txt"));
    }

    #[test]
    fn with_landlock_a_job_may_trace_its_own_processes() {
        assert!(denied(false).iter().any(|denial| denial.call == "ptrace"));
        assert!(denied(true).iter().all(|denial| denial.call != "ptrace"));
    }

    #[test]
    fn every_denied_call_has_a_number_of_its_own() {
        for arch in ["x86_64", "aarch64"] {
            let mut numbers: Vec<i64> =
                NUMBERS.iter().filter_map(|(call, ..)| number(call, arch)).collect();
            numbers.sort_unstable();
            assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{arch}: {numbers:?}");
        }
        for denial in denied(false) {
            assert!(number(denial.call, "x86_64").is_some(), "{}", denial.call);
        }
        assert_eq!(number("mount", "riscv64"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_numbers_are_those_of_the_system() {
        for (call, of_system) in [
            ("bpf", libc::SYS_bpf),
            ("clone", libc::SYS_clone),
            ("clone3", libc::SYS_clone3),
            ("io_uring_setup", libc::SYS_io_uring_setup),
            ("ioctl", libc::SYS_ioctl),
            ("keyctl", libc::SYS_keyctl),
            ("mount", libc::SYS_mount),
            ("mknodat", libc::SYS_mknodat),
            ("open_by_handle_at", libc::SYS_open_by_handle_at),
            ("perf_event_open", libc::SYS_perf_event_open),
            ("personality", libc::SYS_personality),
            ("prlimit64", libc::SYS_prlimit64),
            ("setpriority", libc::SYS_setpriority),
            ("ioprio_set", libc::SYS_ioprio_set),
            ("ptrace", libc::SYS_ptrace),
            ("process_vm_readv", libc::SYS_process_vm_readv),
            ("setns", libc::SYS_setns),
            ("socket", libc::SYS_socket),
            ("umount2", libc::SYS_umount2),
            ("unshare", libc::SYS_unshare),
        ] {
            assert_eq!(number(call, std::env::consts::ARCH), Some(of_system), "{call}");
        }
    }
}
