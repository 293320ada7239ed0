//! What machines of all kinds say, and what is made of it.

use super::*;

fn show(cgroup: &str, mountinfo: &str) -> Vec<String> {
    let Layout { v1, v2 } = Layout::read(cgroup, mountinfo);
    let v1 = v1.iter().map(|(directory, controllers)| {
        let names: Vec<&str> = controllers.iter().map(|controller| controller.name()).collect();
        format!("v1 {} {}", names.join("+"), directory.display())
    });
    v1.chain(v2.iter().map(|directory| format!("v2 {}", directory.display()))).collect()
}

const V1_MOUNTS: &str = "\
22 28 0:21 / /proc rw,nosuid shared:13 - proc proc rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
";

const UNIFIED: &str = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

const V2_MOUNT: &str = "\
30 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate
";

#[test]
fn version_1_has_a_directory_for_each_hierarchy() {
    let cgroup =
        "9:name=systemd:/init.scope\n8:pids:/\n4:memory:/a/b\n3:cpuset:/\n2:cpu,cpuacct:/c\n";
    assert_eq!(
        show(cgroup, V1_MOUNTS),
        [
            "v1 pids /sys/fs/cgroup/pids",
            "v1 memory /sys/fs/cgroup/memory/a/b",
            "v1 cpu /sys/fs/cgroup/cpu,cpuacct/c",
        ]
    );
}

#[test]
fn a_hybrid_machine_has_both() {
    let cgroup = "8:pids:/\n4:memory:/a\n0::/user.slice\n";
    assert_eq!(
        show(cgroup, &format!("{V1_MOUNTS}{UNIFIED}")),
        [
            "v1 pids /sys/fs/cgroup/pids",
            "v1 memory /sys/fs/cgroup/memory/a",
            "v2 /sys/fs/cgroup/unified/user.slice",
        ]
    );
}

#[test]
fn version_2_has_one_directory() {
    let cgroup = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/metal9.service\n";
    assert_eq!(
        show(cgroup, V2_MOUNT),
        ["v2 /sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice/metal9.service"]
    );
}

#[test]
fn a_container_with_a_cgroup_namespace_sees_its_own_group_as_the_root() {
    let mounts = "1032 1031 0:26 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw,nsdelegate\n";
    assert_eq!(show("0::/\n", mounts), ["v2 /sys/fs/cgroup"]);
}

#[test]
fn a_container_in_a_container_sees_a_part_of_the_hierarchy() {
    let mounts = "\
700 699 0:32 /docker/1f2e /sys/fs/cgroup/memory ro,nosuid master:17 - cgroup cgroup rw,memory
701 699 0:36 /docker/1f2e /sys/fs/cgroup/pids ro,nosuid master:19 - cgroup cgroup rw,pids
";
    let cgroup = "8:pids:/docker/1f2e\n4:memory:/docker/1f2e/docker/77aa\n";
    assert_eq!(
        show(cgroup, mounts),
        ["v1 pids /sys/fs/cgroup/pids", "v1 memory /sys/fs/cgroup/memory/docker/77aa"]
    );
}

#[test]
fn a_group_that_is_not_below_what_is_mounted_cannot_be_used() {
    let mounts = "700 699 0:32 /docker/1f2e /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
    assert!(show("4:memory:/other\n", mounts).is_empty());
    assert!(show("0::/../sibling\n", V2_MOUNT).is_empty());
    assert!(show("0::/\n", "").is_empty());
}

#[test]
fn a_hierarchy_that_also_decides_about_cores_is_left_alone() {
    let mounts = "32 31 0:29 / /sys/fs/cgroup/all rw - cgroup cgroup rw,cpuset,cpu,memory\n";
    assert!(show("2:cpuset,cpu,memory:/\n", mounts).is_empty());
}

#[test]
fn blanks_in_paths_are_understood_and_nonsense_is_not_followed() {
    let mounts =
        "30 23 0:26 / /mnt/a\\040b\\134 rw - cgroup2 cgroup2 rw\nx\n1 2 3 - \n - cgroup2\n";
    assert_eq!(show("0::/x y\n::\nnonsense\n", mounts), ["v2 /mnt/a b\\/x y"]);
    assert_eq!(unescape("a\\9\\04"), "a\\9\\04");
}

proptest::proptest! {
    #[test]
    fn whatever_the_files_say_nothing_outside_of_a_mount_is_used(
        cgroup in "([0-9]:[a-z,=]{0,12}:[/.a-z]{0,12}\n|0::/[./a]{0,9}\n|.{0,9}\n){0,5}",
        mountinfo in "(30 23 0:26 /[.a/]{0,3} /m rw - cgroup2? x rw,(memory|cpu|pids)\n|.{0,20}\n){0,5}",
    ) {
        let Layout { v1, v2 } = Layout::read(&cgroup, &mountinfo);
        for directory in v1.iter().map(|(directory, _)| directory).chain(&v2) {
            proptest::prop_assert!(!directory.components().any(|part| part == Component::ParentDir));
        }
    }
}
