//! Picks the members of a tree out of a list of all processes.

use std::collections::HashSet;

use super::{Identity, Seen};

/// A line of the list of all processes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) seen: Seen,
    pub(super) parent: i32,
    pub(super) group: i32,
    /// It is known to belong to the tree whatever its parents are.
    pub(super) marked: bool,
}

/// Who belonged to the tree at the last look, and is remembered after its parent has ended.
#[derive(Debug, Default)]
pub(super) struct Members(HashSet<Identity>);

impl Members {
    /// The processes of `all` that descend from `root`, that did so at the last look, that are in
    /// the process group of one that does, or that are marked; parents first as far as the list
    /// tells.
    pub(super) fn update(&mut self, root: i32, all: &[Entry]) -> Vec<Seen> {
        let root_group = all.iter().find(|entry| entry.seen.identity.pid == root).map(|e| e.group);
        let mut parents = HashSet::from([root]);
        let mut groups = HashSet::new();
        let mut found: Vec<Seen> = Vec::new();
        let mut rest: Vec<&Entry> =
            all.iter().filter(|entry| entry.seen.identity.pid != root).collect();
        loop {
            let before = found.len();
            rest.retain(|entry| {
                let belongs = entry.marked
                    || parents.contains(&entry.parent)
                    || groups.contains(&entry.group)
                    || self.0.contains(&entry.seen.identity);
                if belongs {
                    parents.insert(entry.seen.identity.pid);
                    // The root's own group may hold whoever started the root.
                    if Some(entry.group) != root_group {
                        groups.insert(entry.group);
                    }
                    found.push(entry.seen);
                }
                !belongs
            });
            if found.len() == before {
                self.0 = found.iter().map(|seen| seen.identity).collect();
                return found;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(pid: i32, parent: i32, group: i32) -> Entry {
        let identity = Identity { pid, started: u64::from(pid.unsigned_abs()) };
        Entry { seen: Seen { identity, dead: false }, parent, group, marked: false }
    }

    fn pids(members: &mut Members, all: &[Entry]) -> Vec<i32> {
        let mut pids: Vec<i32> =
            members.update(10, all).iter().map(|seen| seen.identity.pid).collect();
        pids.sort_unstable();
        pids
    }

    #[test]
    fn descendants_are_found_whatever_the_order_of_the_list() {
        let all = [entry(13, 12, 13), entry(12, 11, 11), entry(11, 10, 11), entry(10, 5, 5)];
        assert_eq!(pids(&mut Members::default(), &all), [11, 12, 13]);
    }

    #[test]
    fn whoever_started_the_root_does_not_belong() {
        let all = [entry(5, 1, 5), entry(10, 5, 5), entry(6, 5, 5), entry(11, 10, 5)];
        assert_eq!(pids(&mut Members::default(), &all), [11]);
    }

    #[test]
    fn an_orphan_belongs_by_its_group_or_by_memory() {
        let mut members = Members::default();
        let before = [entry(10, 5, 10), entry(11, 10, 11), entry(12, 11, 12), entry(13, 12, 11)];
        assert_eq!(pids(&mut members, &before), [11, 12, 13]);
        let after = [entry(10, 5, 10), entry(11, 10, 11), entry(12, 1, 12), entry(14, 1, 11)];
        assert_eq!(pids(&mut members, &after), [11, 12, 14]);
    }

    #[test]
    fn one_that_is_marked_belongs_though_nobody_saw_it_starting() {
        let mut escaped = entry(12, 1, 12);
        escaped.marked = true;
        let all = [entry(10, 5, 10), escaped, entry(13, 12, 13), entry(14, 1, 14)];
        assert_eq!(pids(&mut Members::default(), &all), [12, 13]);
    }

    #[test]
    fn a_reused_id_is_somebody_else() {
        let mut members = Members::default();
        assert_eq!(pids(&mut members, &[entry(10, 5, 10), entry(12, 10, 12)]), [12]);
        let mut other = entry(12, 1, 40);
        other.seen.identity.started = 99;
        assert!(pids(&mut members, &[entry(10, 5, 10), other]).is_empty());
    }
}
