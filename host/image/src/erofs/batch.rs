//! Packs inodes and what follows them into metadata blocks.
//!
//! A record (inode, attributes, tail) may not cross a block if it has a tail, so records are put
//! first-fit into the blocks of a batch; a batch that cannot take the next record is written and a new
//! one begun. Where a batch lands is known only then, so a record is found by batch and offset.

use super::format::{BLOCK_BYTES, SLOT_BYTES};

/// Blocks in a batch: enough for first-fit to leave little space, few enough to search.
const BATCH_BLOCKS: usize = 64;

/// Where a record is: in which batch, and at which byte of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Location {
    pub(super) batch: u32,
    pub(super) offset: u32,
}

/// Blocks being filled.
#[derive(Debug)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    /// Bytes taken of each block.
    used: Vec<usize>,
}

impl Batch {
    pub(super) fn new() -> Self {
        Self {
            bytes: vec![0; BATCH_BLOCKS * BLOCK_BYTES],
            used: Vec::with_capacity(BATCH_BLOCKS),
        }
    }

    /// Puts a record of at most one block into the first block with room; `None` if there is none.
    pub(super) fn place(&mut self, record: &[u8]) -> Option<u32> {
        let slot = usize::try_from(SLOT_BYTES).expect("a slot has 32 bytes");
        let fits = |used: usize| used.next_multiple_of(slot) + record.len() <= BLOCK_BYTES;
        let found = self.used.iter().position(|used| fits(*used));
        let block = match found {
            Some(block) => block,
            None if self.used.len() < BATCH_BLOCKS => {
                self.used.push(0);
                self.used.len() - 1
            }
            None => return None,
        };
        let start = self.used[block].next_multiple_of(slot);
        self.used[block] = start + record.len();
        let offset = block * BLOCK_BYTES + start;
        self.bytes[offset..offset + record.len()].copy_from_slice(record);
        Some(u32::try_from(offset).expect("a batch has 256 KiB"))
    }

    /// The blocks in use.
    pub(super) fn filled(&self) -> &[u8] {
        &self.bytes[..self.used.len() * BLOCK_BYTES]
    }

    /// Makes the batch empty again.
    pub(super) fn clear(&mut self) {
        let filled = self.used.len() * BLOCK_BYTES;
        self.bytes[..filled].fill(0);
        self.used.clear();
    }
}
