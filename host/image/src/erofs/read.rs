//! Reads the data of regular files back out of an image that [`super::Writer`] wrote.
//!
//! Only what that writes is understood: extended inodes, blocks in a row, a tail behind the inode, and
//! chunks. Offsets come from files that might be damaged, so none is believed to lie in the image.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::format::{
    BLOCK_BYTES_U64, INODE_BYTES, NULL_ADDRESS, XATTR_ALIGNMENT, XATTR_HEADER_BYTES,
};

/// Layouts of `i_format` that files have: whole blocks, blocks and a tail, chunks.
const LAYOUT_PLAIN: u16 = 0;
const LAYOUT_INLINE: u16 = 2;
const LAYOUT_CHUNKS: u16 = 4;

/// Bits of a chunk's size in `i_u`.
const CHUNK_BITS_MASK: u32 = 0x1f;

/// A regular file of an image.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StoredFile {
    size: u64,
    layout: u16,
    /// First block, or the chunk format.
    union: u32,
    /// Where the tail or the chunk list is.
    after_inode: u64,
}

impl StoredFile {
    /// The file whose inode is at a byte of the image.
    pub(crate) fn open(image: &File, inode: u64) -> io::Result<Self> {
        let mut bytes = [0; INODE_BYTES];
        image.read_exact_at(&mut bytes, inode)?;
        let half = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let word = |at: usize| u32::from(half(at)) | u32::from(half(at + 2)) << 16;
        let xattrs = match usize::from(half(2)) {
            0 => 0,
            words => XATTR_HEADER_BYTES + (words - 1) * XATTR_ALIGNMENT,
        };
        let layout = half(0) >> 1 & 0x7;
        if half(0) & 1 == 0 || !matches!(layout, LAYOUT_PLAIN | LAYOUT_INLINE | LAYOUT_CHUNKS) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(Self {
            size: u64::from(word(8)) | u64::from(word(12)) << 32,
            layout,
            union: word(16),
            after_inode: inode + (INODE_BYTES + xattrs) as u64,
        })
    }

    /// Reads some bytes at `offset`, fewer than asked for where the data is not in one piece.
    pub(crate) fn read_at(
        &self,
        image: &File,
        buffer: &mut [u8],
        offset: u64,
    ) -> io::Result<usize> {
        let left = self.size.checked_sub(offset).filter(|left| *left > 0);
        let left = left.ok_or(io::ErrorKind::UnexpectedEof)?;
        let (position, length) = self.piece(image, offset)?;
        let length = length.min(left);
        let count = usize::try_from(length)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        match position {
            Some(position) => image.read_exact_at(&mut buffer[..count], position)?,
            None => buffer[..count].fill(0),
        }
        Ok(count)
    }

    /// Where in the image the byte at `offset` is, `None` in a hole, and how many follow it there.
    fn piece(&self, image: &File, offset: u64) -> io::Result<(Option<u64>, u64)> {
        let start = u64::from(self.union) * BLOCK_BYTES_U64;
        match self.layout {
            LAYOUT_PLAIN => Ok((Some(start + offset), self.size - offset)),
            LAYOUT_INLINE => {
                let body = self.size - self.size % BLOCK_BYTES_U64;
                if offset < body {
                    Ok((Some(start + offset), body - offset))
                } else {
                    Ok((Some(self.after_inode + offset - body), self.size - offset))
                }
            }
            _ => {
                let chunk = BLOCK_BYTES_U64 << (self.union & CHUNK_BITS_MASK);
                let mut address = [0; 4];
                let entry = self.after_inode + offset / chunk * address.len() as u64;
                image.read_exact_at(&mut address, entry)?;
                let within = offset % chunk;
                let position = match u32::from_le_bytes(address) {
                    NULL_ADDRESS => None,
                    block => Some(u64::from(block) * BLOCK_BYTES_U64 + within),
                };
                Ok((position, chunk - within))
            }
        }
    }
}
