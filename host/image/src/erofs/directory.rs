//! Encodes a folder's entries into blocks.
//!
//! Entries ascend by name, compared as bytes, `.` and `..` among them. Each block has an index of
//! entries and then their names; a block that is not the last is filled with zeros, which end its last
//! name.

use super::format::{BLOCK_BYTES, DIRENT_BYTES, FileType};

/// One entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dirent<'a> {
    pub(super) name: &'a [u8],
    pub(super) node: u64,
    pub(super) file_type: FileType,
}

/// The content of a folder with these entries, sorted here.
pub(super) fn encode(mut entries: Vec<Dirent<'_>>) -> Vec<u8> {
    entries.sort_unstable_by_key(|entry| entry.name);
    let mut content = Vec::new();
    let mut rest = entries.as_slice();
    while !rest.is_empty() {
        let (block, later) = rest.split_at(fitting(rest));
        encode_block(block, &mut content);
        if !later.is_empty() {
            content.resize(content.len().next_multiple_of(BLOCK_BYTES), 0);
        }
        rest = later;
    }
    content
}

/// How many entries fit into one block.
fn fitting(entries: &[Dirent<'_>]) -> usize {
    let mut used = 0;
    let full = entries.iter().position(|entry| {
        used += DIRENT_BYTES + entry.name.len();
        used > BLOCK_BYTES
    });
    full.unwrap_or(entries.len())
}

fn encode_block(entries: &[Dirent<'_>], content: &mut Vec<u8>) {
    let mut name_offset = entries.len() * DIRENT_BYTES;
    for entry in entries {
        content.extend(entry.node.to_le_bytes());
        let offset = u16::try_from(name_offset).expect("an offset lies in a block");
        content.extend(offset.to_le_bytes());
        content.extend([entry.file_type.dirent_byte(), 0]);
        name_offset += entry.name.len();
    }
    for entry in entries {
        content.extend_from_slice(entry.name);
    }
}
