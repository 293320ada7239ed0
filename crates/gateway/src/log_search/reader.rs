//! Reading a task's output as lines.

use std::io;

use metal9_store::TaskRow;
use metal9_types::TaskId;

use super::{Line, Splitter, Wish, wanted};
use crate::shared::Shared;

/// Bytes read at a time.
const CHUNK: usize = 256 * 1024;

/// How far a task's output was read, and what of it has no end yet.
pub(crate) struct Reader {
    task: TaskId,
    offset: u64,
    splitter: Splitter,
}

impl Reader {
    /// Reads from this byte on.
    pub(crate) fn new(task: &TaskRow, offset: u64) -> Self {
        Self { task: task.id, offset, splitter: Splitter::new(task) }
    }

    /// Reads up to `end`, and adds the lines that are wished for to `found`. `true` if it came that
    /// far.
    ///
    /// # Errors
    /// If the output cannot be read.
    pub(crate) async fn read(
        &mut self,
        shared: &Shared,
        end: u64,
        wish: &Wish,
        found: &mut Vec<Line>,
    ) -> io::Result<bool> {
        while self.offset < end {
            let pieces = shared.store.logs().pieces(self.task, self.offset, CHUNK).await?;
            let Some(last) = pieces.last() else { break };
            self.offset = last.end_offset;
            let lines = pieces.into_iter().flat_map(|piece| self.splitter.add(piece));
            found.extend(lines.filter(|line| wanted(line, wish)));
        }
        Ok(self.offset == end)
    }

    /// What has no end, as nothing more comes.
    pub(crate) fn rest(&mut self, wish: &Wish, found: &mut Vec<Line>) {
        found.extend(self.splitter.rest().into_iter().filter(|line| wanted(line, wish)));
    }
}
