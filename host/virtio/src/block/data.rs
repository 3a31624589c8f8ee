//! The data disk: one sparse file that the guest reads, writes, flushes and discards.
//!
//! What the guest flushed is on the host's disk (`fdatasync`); what it discarded or zeroed becomes
//! a hole, so the file shrinks while the machine runs.

use std::fs::File;
use std::io;
use std::ops::Range;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::libc::off_t;

use super::backing::{Backing, Limits};
use super::disk::Disk;
use super::request::SECTOR_BYTES;
use crate::span::GuestSpan;

/// The writable disk of one sparse file.
pub type DataDisk = Disk<SparseFile>;

/// Why a file cannot be a data disk.
#[derive(Debug, thiserror::Error)]
pub enum OpenDiskError {
    /// The file could not be examined.
    #[error("failed to examine the disk file")]
    Examine {
        /// What the operating system answered.
        #[source]
        source: io::Error,
    },
    /// A directory, device, pipe or socket.
    #[error("the disk is not a regular file")]
    NotRegular,
    /// Less than a sector.
    #[error("the disk file of {length} bytes is too small")]
    TooSmall {
        /// The file's length.
        length: u64,
    },
}

impl DataDisk {
    /// A disk as large as `file` is now, rounded down to whole sectors.
    ///
    /// The file must be open for reading and writing, and nobody else may write to it.
    ///
    /// # Errors
    /// [`OpenDiskError`] where the file is no regular one or empty.
    pub fn new(file: File) -> Result<Self, OpenDiskError> {
        let metadata = file
            .metadata()
            .map_err(|source| OpenDiskError::Examine { source })?;
        if !metadata.is_file() {
            return Err(OpenDiskError::NotRegular);
        }
        let length = metadata.len();
        if length < SECTOR_BYTES {
            return Err(OpenDiskError::TooSmall { length });
        }
        Ok(Self::with_backing(SparseFile {
            file,
            capacity_bytes: length - length % SECTOR_BYTES,
        }))
    }
}

/// The storage behind a [`DataDisk`].
#[derive(Debug)]
pub struct SparseFile {
    file: File,
    capacity_bytes: u64,
}

impl SparseFile {
    /// Makes `range` a hole, or, on a file system without holes, zeroes in place.
    ///
    /// Says whether either could be done.
    fn clear(&self, range: &Range<u64>) -> io::Result<bool> {
        let keep_size = FallocateFlags::FALLOC_FL_KEEP_SIZE;
        for way in [
            FallocateFlags::FALLOC_FL_PUNCH_HOLE | keep_size,
            FallocateFlags::FALLOC_FL_ZERO_RANGE | keep_size,
        ] {
            match fallocate(
                &self.file,
                way,
                file_offset(range.start)?,
                file_offset(range.end - range.start)?,
            ) {
                Ok(()) => return Ok(true),
                Err(Errno::EOPNOTSUPP) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(false)
    }
}

impl Backing for SparseFile {
    fn capacity_bytes(&self) -> u64 {
        self.capacity_bytes
    }

    fn identifier(&self) -> &'static str {
        "dhow-data"
    }

    fn limits(&self) -> Limits {
        Limits::Writable
    }

    fn read(&mut self, offset: u64, target: &mut GuestSpan<'_>) -> io::Result<()> {
        target.fill_from_file(&self.file, offset, target.length())
    }

    fn write(&mut self, offset: u64, source: &mut GuestSpan<'_>) -> io::Result<()> {
        source.drain_to_file(&self.file, offset, source.length())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// A host file system without holes keeps the data, as the specification allows.
    fn discard(&mut self, range: Range<u64>) -> io::Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        self.clear(&range).map(|_| ())
    }

    fn write_zeroes(&mut self, range: Range<u64>) -> io::Result<()> {
        if range.is_empty() || self.clear(&range)? {
            Ok(())
        } else {
            Err(Errno::EOPNOTSUPP.into())
        }
    }
}

fn file_offset(offset: u64) -> io::Result<off_t> {
    off_t::try_from(offset).map_err(|source| io::Error::new(io::ErrorKind::InvalidInput, source))
}
