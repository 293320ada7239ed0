//! Reading output as lines.

use std::io;

use metal9_types::TaskId;

use super::{Line, Source, Splitter, Wish, wanted};
use crate::shared::Shared;

/// Bytes read at a time.
const CHUNK: usize = 256 * 1024;

/// How far output was read, and what of it has no end yet.
pub(crate) struct Reader {
    log: TaskId,
    offset: u64,
    splitter: Splitter,
}

impl Reader {
    /// Reads from this byte on.
    pub(crate) fn new(source: &Source, offset: u64) -> Self {
        Self { log: source.log, offset, splitter: Splitter::new(source) }
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
            let pieces = shared.store.logs().pieces(self.log, self.offset, CHUNK).await?;
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
