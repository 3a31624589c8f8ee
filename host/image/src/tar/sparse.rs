//! The maps of sparse files: where each run of stored bytes belongs.
//!
//! Four formats exist (GNU tar manual, "Storing Sparse Files"): old GNU in the header and extension
//! blocks, PAX 0.0 and 0.1 in records, PAX 1.0 as decimal lines before the data.

use std::io::BufRead;

use super::header::parse_number;
use super::pax::decimal;
use super::{BLOCK_BYTES, MAX_FILE_BYTES, TarError};

/// Most extents of one file; a map beyond it would only fill our memory (16 MiB at this bound).
const MAX_EXTENTS: usize = 1 << 20;

/// Bytes of one old-GNU map entry: two numbers of twelve.
const OLD_GNU_ENTRY_BYTES: usize = 24;

/// Entries in an old-GNU extension block, and where its "more follow" flag is.
const EXTENSION_ENTRIES: usize = 21;

/// Longest line of a PAX 1.0 map: a 64-bit number.
const MAX_LINE_BYTES: usize = 20;

/// One run of stored bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// Appends the entries of an old-GNU map; an empty entry ends it.
pub(super) fn parse_old_gnu(bytes: &[u8], map: &mut Vec<Extent>) -> Result<(), TarError> {
    for entry in bytes.chunks_exact(OLD_GNU_ENTRY_BYTES) {
        if entry[0] == 0 {
            return Ok(());
        }
        let (offset, length) = entry.split_at(OLD_GNU_ENTRY_BYTES / 2);
        let offset = parse_number(offset).ok_or(TarError::Sparse)?;
        let length = parse_number(length).ok_or(TarError::Sparse)?;
        push(map, Extent { offset, length })?;
    }
    Ok(())
}

/// Reads one extension block and says whether another follows.
pub(super) fn parse_extension_block(
    block: &[u8; BLOCK_BYTES],
    map: &mut Vec<Extent>,
) -> Result<bool, TarError> {
    const FLAG: usize = EXTENSION_ENTRIES * OLD_GNU_ENTRY_BYTES;
    parse_old_gnu(&block[..FLAG], map)?;
    Ok(block[FLAG] != 0)
}

/// Reads a PAX 1.0 map from the front of an entry's data, with the padding after it.
pub(super) fn read_map(data: &mut impl BufRead) -> Result<Vec<Extent>, TarError> {
    let mut consumed = 0;
    let mut line = || -> Result<u64, TarError> {
        let mut digits = Vec::new();
        loop {
            let mut byte = [0];
            data.read_exact(&mut byte)?;
            consumed += 1;
            if byte[0] == b'\n' {
                return decimal(&digits).ok_or(TarError::Sparse);
            }
            if digits.len() == MAX_LINE_BYTES {
                return Err(TarError::Sparse);
            }
            digits.push(byte[0]);
        }
    };
    let count = line()?;
    let mut map = Vec::new();
    for _ in 0..count {
        let extent = Extent {
            offset: line()?,
            length: line()?,
        };
        push(&mut map, extent)?;
    }
    let mut padding = vec![0; usize::next_multiple_of(consumed, BLOCK_BYTES) - consumed];
    data.read_exact(&mut padding)?;
    Ok(map)
}

/// Turns `offset, length, offset, length, …` into extents.
pub(super) fn pairs(numbers: &[u64]) -> Result<Vec<Extent>, TarError> {
    let mut map = Vec::new();
    for pair in numbers.chunks(2) {
        let [offset, length] = *pair else {
            return Err(TarError::Sparse);
        };
        push(&mut map, Extent { offset, length })?;
    }
    Ok(map)
}

fn push(map: &mut Vec<Extent>, extent: Extent) -> Result<(), TarError> {
    if map.len() == MAX_EXTENTS {
        return Err(TarError::Sparse);
    }
    map.push(extent);
    Ok(())
}

/// Extents must ascend, stay inside the file, and together have as many bytes as are stored.
pub(super) fn check(map: &[Extent], size: u64, stored: u64) -> Result<(), TarError> {
    if size > MAX_FILE_BYTES {
        return Err(TarError::FileTooLarge { size });
    }
    let mut end = 0;
    let mut sum = 0_u64;
    for extent in map {
        let next = extent
            .offset
            .checked_add(extent.length)
            .ok_or(TarError::Sparse)?;
        if extent.offset < end || next > size {
            return Err(TarError::Sparse);
        }
        end = next;
        sum += extent.length;
    }
    if sum == stored {
        Ok(())
    } else {
        Err(TarError::Sparse)
    }
}
