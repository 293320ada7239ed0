//! Where this process's own cgroups are: a pure reading of two files of `/proc`.

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A kind of limit that cgroups can hold a container to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Controller {
    /// Memory, and swap where the kernel counts it.
    Memory,
    /// Processes and threads.
    Pids,
    /// Processor time.
    Cpu,
}

impl Controller {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Memory, Self::Pids, Self::Cpu];

    /// The kernel's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpu => "cpu",
        }
    }
}

/// The directories of this process's own cgroups, as far as they can be seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// One for each version 1 hierarchy that has a controller of interest, with these controllers.
    pub v1: Vec<(PathBuf, Vec<Controller>)>,
    /// The one of version 2. Which controllers it has is known by reading `cgroup.controllers`.
    pub v2: Option<PathBuf>,
}

impl Layout {
    /// Reads `/proc/self/cgroup` and `/proc/self/mountinfo`. What makes no sense is left out.
    #[must_use]
    pub fn read(cgroup: &str, mountinfo: &str) -> Self {
        let mounts: Vec<Mount> = mountinfo.lines().filter_map(Mount::read).collect();
        let mut layout = Self::default();
        for line in cgroup.lines() {
            let mut fields = line.splitn(3, ':');
            let (Some(_), Some(names), Some(path)) = (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            let names: Vec<&str> = names.split(',').filter(|name| !name.is_empty()).collect();
            // A group of such a hierarchy takes nobody in before somebody configures its cores.
            let is_cpuset = names.contains(&"cpuset");
            let directory = || mounts.iter().find_map(|mount| mount.directory(&names, path));
            if names.is_empty() {
                layout.v2 = layout.v2.or_else(directory);
                continue;
            }
            let mut controllers = Controller::ALL.to_vec();
            controllers.retain(|controller| names.contains(&controller.name()));
            if controllers.is_empty() || is_cpuset {
                continue;
            }
            if let Some(directory) = directory() {
                layout.v1.push((directory, controllers));
            }
        }
        layout
    }
}

/// A mounted cgroup hierarchy.
struct Mount<'a> {
    /// Which directory of the hierarchy is mounted.
    root: String,
    point: String,
    is_v2: bool,
    /// Among others the names of the controllers of version 1.
    options: Vec<&'a str>,
}

impl<'a> Mount<'a> {
    /// A line of mountinfo; `None` if it is no cgroup hierarchy.
    fn read(line: &'a str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let (root, point) = (unescape(before.next()?), unescape(before.next()?));
        let mut after = after.split(' ');
        let is_v2 = match after.next()? {
            "cgroup2" => true,
            "cgroup" => false,
            _ => return None,
        };
        let options = after.nth(1).unwrap_or_default().split(',').collect();
        Some(Self { root, point, is_v2, options })
    }

    /// Where the group `path` of the hierarchy of these controllers is; `None` if it is another
    /// hierarchy, or only a part is mounted that the group is not in.
    fn directory(&self, names: &[&str], path: &str) -> Option<PathBuf> {
        let same = match (names, self.is_v2) {
            ([], v2) => v2,
            (names, false) => names.iter().all(|name| self.options.contains(name)),
            (_, true) => false,
        };
        let below = Path::new(path).strip_prefix(&self.root).ok()?;
        // A group outside of this process's cgroup namespace is shown as `/../other`.
        let is_inside = below.components().all(|part| matches!(part, Component::Normal(_)));
        // By components, because joining nothing leaves a slash.
        let directory = || Path::new(&self.point).join(below).components().collect();
        (same && is_inside).then(directory)
    }
}

/// Blanks and the like are written as three octal digits.
fn unescape(field: &str) -> String {
    let mut parts = field.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                plain.push(char::from(code));
                plain.push_str(&part[3..]);
            }
            None => {
                plain.push('\\');
                plain.push_str(part);
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests;
