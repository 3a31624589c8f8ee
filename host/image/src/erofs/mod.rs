//! Writes an EROFS image in one pass over its content.
//!
//! File data goes to the output the moment it is known ([`FileWriter`]); inodes and the short tails of
//! files gather in batches of metadata blocks that are written between two files ([`Writer`]);
//! folders wait in memory as a [`Tree`], because entries may still come and go, and are written last.
//! That works because a node number may point anywhere: only the root's must fit 16 bits, so the root
//! inode lies in the first block, behind the superblock.
//!
//! The bytes written depend on the calls made and on nothing else: no clock, no random number.

mod batch;
mod directory;
mod file;
mod finish;
mod format;
mod output;
mod read;
mod tree;
mod writer;
mod xattr;

use std::io;

pub(crate) use batch::Location;
pub(crate) use format::FileType;
pub(crate) use read::StoredFile;
pub use tree::TreeError;
pub(crate) use tree::{Child, DirectoryId, LeafId, Tree};
pub(crate) use writer::{Special, Writer};
pub use xattr::XattrError;

#[cfg(test)]
pub(crate) use format::BLOCK_BYTES_U64;

/// Owner, permissions, time and extended attributes of an inode.
#[derive(Debug, Clone, Default)]
pub(crate) struct Attributes {
    /// Permission, set-id and sticky bits.
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime_seconds: i64,
    pub(crate) mtime_nanoseconds: u32,
    /// Full names and values.
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Why an image cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ErofsError {
    /// The file system refused.
    #[error("failed to write the layer file")]
    Write(#[source] io::Error),
    /// More blocks than the format can number.
    #[error("the layer exceeds the 16 TiB that its format can address")]
    TooLarge,
    /// Attributes the format cannot hold.
    #[error("failed to store extended attributes")]
    Xattr(#[source] XattrError),
}

impl From<io::Error> for ErofsError {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}
