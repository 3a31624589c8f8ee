//! One block request, read from guest memory once and checked against the disk's bounds.
//!
//! Layout (virtio 1.2, section 5.2.6): a 16-byte header and the data to write are readable; the
//! data read and, last, one status byte are writable. Framing is the guest's choice: the header
//! may be split over descriptors.

use std::io;
use std::ops::Range;

use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN,
    VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP,
};

use crate::span::GuestSpan;

/// The unit of every address in the protocol, whatever the disk's block size.
pub(super) const SECTOR_BYTES: u64 = 512;

/// The most data one read or write may carry. Linux asks for 1,280 KiB at a time unless an
/// administrator raises `max_sectors_kb`; a chain could describe 4 GiB and hold the thread.
pub(super) const MAX_TRANSFER_BYTES: usize = 32 * 1024 * 1024;

/// The most ranges in one discard or write-zeroes request, told to the guest.
pub(super) const MAX_RANGES: u32 = 16;

/// The most sectors in one such range, told to the guest: 1 GiB. Punching that much takes a host
/// file system some milliseconds.
pub(super) const MAX_RANGE_SECTORS: u32 = 2 * 1024 * 1024;

const HEADER_BYTES: usize = 16;
const RANGE_BYTES: usize = 16;

/// Why a request gets another status than success.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    /// The guest asked for what the protocol or the disk does not allow.
    #[error("invalid block request: {0}")]
    Invalid(&'static str),
    /// A command or flag that was not offered.
    #[error("unsupported request type {0}")]
    Unsupported(u32),
    /// The request could not be read or its data not moved.
    #[error("failed to transfer the request's data")]
    Transfer(#[from] io::Error),
}

/// The request header; `ioprio` in it is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) command: u32,
    pub(super) sector: u64,
}

impl Header {
    /// Takes the header off the front of what the guest wrote.
    pub(super) fn read(source: &mut GuestSpan<'_>) -> io::Result<Self> {
        let mut bytes = [0; HEADER_BYTES];
        source.read_bytes(&mut bytes)?;
        let [a, b, c, d, _, _, _, _, sector @ ..] = bytes;
        Ok(Self {
            command: u32::from_le_bytes([a, b, c, d]),
            sector: u64::from_le_bytes(sector),
        })
    }
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Read,
    Write,
    Flush,
    Identify,
    Discard,
    WriteZeroes,
}

impl Command {
    /// The command of this number, `None` where there is none such.
    pub(super) fn from_number(number: u32) -> Option<Self> {
        match number {
            VIRTIO_BLK_T_IN => Some(Self::Read),
            VIRTIO_BLK_T_OUT => Some(Self::Write),
            VIRTIO_BLK_T_FLUSH => Some(Self::Flush),
            VIRTIO_BLK_T_GET_ID => Some(Self::Identify),
            VIRTIO_BLK_T_DISCARD => Some(Self::Discard),
            VIRTIO_BLK_T_WRITE_ZEROES => Some(Self::WriteZeroes),
            _ => None,
        }
    }
}

/// The byte offset of a transfer of `length` bytes at `sector`, if it lies inside the disk.
pub(super) fn transfer_offset(
    sector: u64,
    length: usize,
    capacity_bytes: u64,
) -> Result<u64, RequestError> {
    if length == 0 || length > MAX_TRANSFER_BYTES {
        return Err(RequestError::Invalid("empty or oversized data"));
    }
    let length = length as u64;
    if !length.is_multiple_of(SECTOR_BYTES) {
        return Err(RequestError::Invalid("data is not whole sectors"));
    }
    byte_range(sector, length / SECTOR_BYTES, capacity_bytes).map(|range| range.start)
}

/// Takes the next range of a discard or write-zeroes request off the front of `source`.
///
/// The unmap flag only has a meaning for write-zeroes, where it is a wish that may be ignored.
pub(super) fn read_range(
    source: &mut GuestSpan<'_>,
    command: Command,
    capacity_bytes: u64,
) -> Result<Range<u64>, RequestError> {
    let mut bytes = [0; RANGE_BYTES];
    source.read_bytes(&mut bytes)?;
    let [s0, s1, s2, s3, s4, s5, s6, s7, n0, n1, n2, n3, flags @ ..] = bytes;
    let sector = u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
    let count = u32::from_le_bytes([n0, n1, n2, n3]);
    let allowed = match command {
        Command::WriteZeroes => VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP,
        _ => 0,
    };
    if u32::from_le_bytes(flags) & !allowed != 0 {
        // Virtio 1.2, 5.2.6.2: unknown flags are answered with UNSUPP.
        return Err(RequestError::Unsupported(u32::from_le_bytes(flags)));
    }
    if count > MAX_RANGE_SECTORS {
        return Err(RequestError::Invalid("range is longer than offered"));
    }
    byte_range(sector, u64::from(count), capacity_bytes)
}

/// How many ranges `length` bytes hold, if it is a whole and permitted number.
pub(super) fn range_count(length: usize) -> Result<usize, RequestError> {
    let count = length / RANGE_BYTES;
    let permitted = 1..=MAX_RANGES as usize;
    if length.is_multiple_of(RANGE_BYTES) && permitted.contains(&count) {
        Ok(count)
    } else {
        Err(RequestError::Invalid("wrong number of ranges"))
    }
}

fn byte_range(sector: u64, sectors: u64, capacity_bytes: u64) -> Result<Range<u64>, RequestError> {
    let beyond = RequestError::Invalid("beyond the end of the disk");
    let Some(end) = sector
        .checked_add(sectors)
        .and_then(|end| end.checked_mul(SECTOR_BYTES))
        .filter(|end| *end <= capacity_bytes)
    else {
        return Err(beyond);
    };
    // Cannot overflow: it is at most `end`.
    Ok(sector * SECTOR_BYTES..end)
}
