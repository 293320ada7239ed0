//! Builds that want more of the machine than is theirs.

use std::fs;
use std::path::Path;

use metal9_rootfs::BuildSpec;

use crate::building::{build, spec};
use crate::made::{image, layer};
use crate::server::{Server, cache, program, settings};

/// A file of the machine, and one that must not come to be, in a directory that no build is given.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("secret"), "of-the-machine").unwrap();
        Self(directory)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn is_as_it_was(&self) -> bool {
        fs::read_dir(self.path()).unwrap().count() == 1
    }
}

/// A step that reads and writes all that it can of what is mounted.
fn step(mount: &str, machine: &Machine) -> String {
    let there = machine.path().display();
    format!(
        "RUN --mount={mount} [\"/bin/busybox\", \"sh\", \"-c\", \"for top in /exploit \
         /exploit/proc/1/root /exploit/1/root /exploit/root; do /bin/busybox cat $top{there}/secret; \
         echo > $top{there}/written; done; echo > /exploit/core-pattern; /bin/busybox ls /exploit; \
         echo tried-$((6 * 7))\"]\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn no_step_has_anything_of_the_machine_mounted() {
    let busybox = fs::read(program("busybox", "busybox-static")).unwrap();
    let server = Server::start();
    let base = format!("{}/base:latest", server.host);
    image(&[layer(&[("bin/", b""), ("bin/busybox", &busybox)])]).push(&base).await;
    let (_directory, images) = cache(settings(&[&server.host])).await;
    let machine = Machine::new();
    let links =
        ["/", "/proc", "/proc/1/root", "/usr", "/metal9", "/metal9/storage", "/metal9/work"];
    let linked = links.map(|link| (link, "type=bind,from=base,source=/out,target=/exploit,rw"));
    let named = [
        ("/", "type=bind,source=../../../..,target=/exploit,rw"),
        ("/", "type=bind,source=/../../proc/1/root,target=/exploit,rw,noexec"),
        ("/", "type=cache,target=/exploit,id=../../../../.."),
        ("/", "type=cache,target=/exploit,from=base,source=/out"),
        ("/", "type=cache,target=/exploit,from=base,source=/../../../../.."),
    ];
    for (link, mount) in linked.into_iter().chain(named) {
        let first = format!(
            "FROM {base} AS base\nUSER 0\nRUN [\"/bin/busybox\", \"ln\", \"-s\", \"{link}\", \"/out\"]\n"
        );
        let dockerfile = format!("{first}FROM {base}\nUSER 0\n{}", step(mount, &machine));
        let spec = BuildSpec {
            base: None,
            dockerfile: Some(dockerfile),
            ignore_python: true,
            ..spec(&base)
        };
        let (built, lines) = build(&images, &spec).await;
        let said = lines.join("\n");
        assert!(machine.is_as_it_was(), "{link} {mount}: {said}");
        assert!(!said.contains("of-the-machine"), "{link} {mount}: {said}");
        // The kernel itself refuses what another mount namespace has; a name that buildah keeps within the
        // context or the image is as good as refused.
        let error = built.map_or_else(|error| error.to_string(), |_| String::new());
        let tried = said.lines().any(|line| line == "tried-42");
        let refused = error.contains("not of this build") || link == "/proc/1/root";
        let is_not_there = said.contains("ls: /exploit: No such file");
        let is_own = mount.contains("..") && !said.lines().any(|line| line == "proc");
        assert!(refused && !tried || is_not_there || is_own, "{link} {mount}: {said} {error}");
        assert!(refused || !mount.starts_with("type=bind,from"), "{link} {mount}: {said} {error}");
    }
    // What is the build's own is had.
    let dockerfile = format!(
        "FROM {base} AS base\nFROM {base}\nUSER 0\nRUN --mount=type=bind,from=base,source=/bin,target=/own \
         --mount=type=cache,target=/cache [\"/own/busybox\", \"touch\", \"/cache/a\"]\n"
    );
    let spec =
        BuildSpec { base: None, dockerfile: Some(dockerfile), ignore_python: true, ..spec(&base) };
    let (built, lines) = build(&images, &spec).await;
    built.unwrap_or_else(|error| panic!("{error}: {lines:?}"));
}
