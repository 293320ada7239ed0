//! Counting what workspaces have.

use metal9_types::{ContainerId, WorkspaceId};

use crate::WorkspaceRules;
use crate::core::Core;
use crate::state::{GroupKey, share};

impl Core {
    pub(crate) fn rules(&self, workspace: WorkspaceId) -> WorkspaceRules {
        self.config.workspaces.get(&workspace).copied().unwrap_or_default()
    }

    /// What a workspace may use in one turn.
    pub(crate) fn quantum(&self, workspace: WorkspaceId) -> i64 {
        share::QUANTUM.saturating_mul(i64::from(self.rules(workspace).weight.max(1)))
    }

    pub(crate) fn on_set_workspace(&mut self, workspace: WorkspaceId, rules: WorkspaceRules) {
        // Those without rules of their own are not looked up.
        if rules == WorkspaceRules::default() {
            self.config.workspaces.remove(&workspace);
        } else {
            self.config.workspaces.insert(workspace, rules);
        }
        self.uncap(workspace);
    }

    /// Counts a container's call in or out.
    pub(crate) fn count_call(&mut self, id: ContainerId, more: bool) {
        let Some(container) = self.containers.get(&id) else { return };
        let Some(workspace) = container.workspace else { return };
        let Some(stub) = self.stubs.get(&container.stub) else { return };
        let share = self.shares.entry(workspace).or_default();
        share.count(&stub.spec, self.shapes[stub.shape].cost, more);
        if !more {
            self.forget_share(workspace);
            self.uncap(workspace);
        }
    }

    /// Counts a queue in or out.
    pub(crate) fn count_queue(&mut self, workspace: WorkspaceId, more: bool) {
        let share = self.shares.entry(workspace).or_default();
        share.queues = if more { share.queues + 1 } else { share.queues.saturating_sub(1) };
        self.forget_share(workspace);
    }

    fn forget_share(&mut self, workspace: WorkspaceId) {
        if self.shares.get(&workspace).is_some_and(share::Share::is_over) {
            self.shares.remove(&workspace);
        }
    }

    /// Queues of the workspace that might not have more are looked at again.
    fn uncap(&mut self, workspace: WorkspaceId) {
        if self.capped.is_empty() {
            return;
        }
        let freed: Vec<GroupKey> =
            self.capped.iter().copied().filter(|key| key.workspace == workspace).collect();
        for key in freed {
            self.capped.remove(&key);
            self.changes.groups.insert(key);
        }
    }

    /// `true` if the workspace may have one more call of the group's stub.
    pub(crate) fn is_within_rules(&self, key: GroupKey) -> bool {
        let Some(rules) = self.config.workspaces.get(&key.workspace) else { return true };
        let Some(stub) = self.stubs.get(&key.stub) else { return true };
        self.shares.get(&key.workspace).is_none_or(|share| share.full(rules, &stub.spec).is_none())
    }

    /// Takes note that a task of the group goes to a container.
    pub(crate) fn charge(&mut self, key: GroupKey) {
        let quantum = self.quantum(key.workspace);
        let Some(stub) = self.stubs.get(&key.stub) else { return };
        let charge = share::charge(self.shapes[stub.shape].cost, stub.call_time);
        if let Some(share) = self.shares.get_mut(&key.workspace) {
            let least = quantum.saturating_mul(-share::MOST_DEBT);
            share.deficit = share.deficit.saturating_sub(charge).max(least);
        }
    }
}
