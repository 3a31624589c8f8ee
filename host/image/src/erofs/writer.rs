//! Writes inodes that are no folders, and hands out [`FileWriter`]s.

use std::fs::File;

use super::batch::{Batch, Location};
use super::file::FileWriter;
use super::format::{BLOCK_BYTES, BLOCK_BYTES_U64, Content, INODE_BYTES, Inode, encode_device};
use super::output::Output;
use super::xattr::XattrTable;
use super::{Attributes, ErofsError, FileType};

/// An inode without file data.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Special<'a> {
    Symlink(&'a [u8]),
    CharacterDevice(u32, u32),
    BlockDevice(u32, u32),
    Fifo,
}

/// An image being written.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(super) output: Output,
    batch: Batch,
    /// Where each batch was written; the last one is still in memory.
    pub(super) positions: Vec<u64>,
    /// The batch in memory.
    current: u32,
    pub(super) xattrs: XattrTable,
    pub(super) next_number: u32,
    pub(super) chunked_files: bool,
}

impl Writer {
    /// Starts an image in an empty file; the first block is written last.
    pub(crate) fn new(file: File) -> Result<Self, ErofsError> {
        let mut output = Output::new(file);
        output.write(&[0; BLOCK_BYTES])?;
        Ok(Self {
            output,
            batch: Batch::new(),
            positions: vec![0],
            current: 0,
            xattrs: XattrTable::default(),
            next_number: 1,
            chunked_files: false,
        })
    }

    /// Starts a regular file of `size` bytes; its data must follow at once.
    pub(crate) fn begin_file(&mut self, size: u64) -> Result<FileWriter<'_>, ErofsError> {
        FileWriter::new(self, size)
    }

    /// Writes an inode without file data.
    pub(crate) fn add_special(
        &mut self,
        attributes: &Attributes,
        special: Special<'_>,
    ) -> Result<Location, ErofsError> {
        let device = |major, minor| Content::Device(encode_device(major, minor));
        let (file_type, content, tail): (_, _, &[u8]) = match special {
            Special::Symlink(target) => (FileType::Symlink, Content::Inline(0), target),
            Special::CharacterDevice(major, minor) => {
                (FileType::CharacterDevice, device(major, minor), &[])
            }
            Special::BlockDevice(major, minor) => {
                (FileType::BlockDevice, device(major, minor), &[])
            }
            Special::Fifo => (FileType::Fifo, Content::Plain(0), &[]),
        };
        self.add_inode(attributes, file_type, tail.len() as u64, content, tail)
    }

    /// Writes an inode whose content is at `content`, with `tail` after it. A tail that does not fit
    /// into the inode's block gets a block of its own; for that, all content must be plain blocks that
    /// end at the output's position.
    pub(super) fn add_inode(
        &mut self,
        attributes: &Attributes,
        file_type: FileType,
        size: u64,
        content: Content,
        tail: &[u8],
    ) -> Result<Location, ErofsError> {
        let xattrs = self
            .xattrs
            .encode(&attributes.xattrs, false)
            .map_err(ErofsError::Xattr)?;
        let (content, tail) = match content {
            Content::Inline(_) if tail.is_empty() => (Content::Plain(0), tail),
            Content::Inline(first) if INODE_BYTES + xattrs.len() + tail.len() > BLOCK_BYTES => {
                let own_block = self.output.block()?;
                self.output.write(tail)?;
                self.output.pad_to_block()?;
                let first = if size < BLOCK_BYTES_U64 {
                    own_block
                } else {
                    first
                };
                (Content::Plain(first), [].as_slice())
            }
            other => (other, tail),
        };
        let number = self.next_number;
        self.next_number += 1;
        let inode = Inode {
            file_type,
            mode: attributes.mode,
            size,
            content,
            number,
            uid: attributes.uid,
            gid: attributes.gid,
            mtime_seconds: attributes.mtime_seconds,
            mtime_nanoseconds: attributes.mtime_nanoseconds,
            links: 1,
            xattr_bytes: xattrs.len(),
        };
        self.place(&[inode.encode().as_slice(), &xattrs, tail].concat())
    }

    /// Puts a record into the batch, or on its own if it is larger than a block.
    fn place(&mut self, record: &[u8]) -> Result<Location, ErofsError> {
        if record.len() > BLOCK_BYTES {
            let batch = u32::try_from(self.positions.len()).map_err(|_| ErofsError::TooLarge)?;
            self.positions.push(self.output.position());
            self.output.write(record)?;
            self.output.pad_to_block()?;
            return Ok(Location { batch, offset: 0 });
        }
        let offset = match self.batch.place(record) {
            Some(offset) => offset,
            None => {
                self.flush_batch()?;
                self.batch
                    .place(record)
                    .expect("an empty batch takes one block")
            }
        };
        Ok(Location {
            batch: self.current,
            offset,
        })
    }

    /// Writes the batch at the current position and begins another.
    pub(super) fn flush_batch(&mut self) -> Result<(), ErofsError> {
        self.output.block()?;
        self.positions[self.current as usize] = self.output.position();
        self.output.write(self.batch.filled())?;
        self.batch.clear();
        self.current = u32::try_from(self.positions.len()).map_err(|_| ErofsError::TooLarge)?;
        self.positions.push(0);
        Ok(())
    }
}
