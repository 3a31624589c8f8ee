//! What a [`Disk`](super::Disk) needs from the storage behind it.

use std::io;
use std::ops::Range;

use crate::span::GuestSpan;

/// Which of the optional commands a backing takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limits {
    /// Reads only; `VIRTIO_BLK_F_RO` is offered.
    ReadOnly,
    /// Reads, writes, flush, discard and write-zeroes.
    Writable,
}

/// Storage behind a disk. Called from the device's thread, with ranges inside the capacity.
pub trait Backing: Send {
    /// Size in bytes, a multiple of the sector size, fixed for the backing's life.
    fn capacity_bytes(&self) -> u64;

    /// What the guest sees as the disk's serial number; at most 20 bytes of ASCII.
    fn identifier(&self) -> &'static str;

    /// Whether anything but reads is possible.
    fn limits(&self) -> Limits;

    /// Fills all of `target` from `offset`.
    ///
    /// # Errors
    /// The host could not read, or `target` lies outside guest memory.
    fn read(&mut self, offset: u64, target: &mut GuestSpan<'_>) -> io::Result<()>;

    /// Writes all of `source` to `offset`; need not be durable before [`flush`](Self::flush).
    ///
    /// # Errors
    /// The host could not write (`ENOSPC` among others), or `source` lies outside guest memory.
    fn write(&mut self, offset: u64, source: &mut GuestSpan<'_>) -> io::Result<()>;

    /// Makes every completed write durable.
    ///
    /// # Errors
    /// The host could not; what was written since the last flush may be lost.
    fn flush(&mut self) -> io::Result<()>;

    /// The guest needs this range no more: gives its space back to the host.
    ///
    /// # Errors
    /// The host refused.
    fn discard(&mut self, range: Range<u64>) -> io::Result<()>;

    /// Makes this range read as zeroes.
    ///
    /// # Errors
    /// The host could not.
    fn write_zeroes(&mut self, range: Range<u64>) -> io::Result<()>;
}
