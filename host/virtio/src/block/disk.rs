//! The block device itself: configuration space, request loop, status.
//!
//! A request ends in exactly one of three ways: served, answered with an error status, or, where
//! the chain has no room for a status, returned with nothing written. The last two are counted.

use std::fmt;
use std::mem::offset_of;
use std::os::fd::BorrowedFd;

use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_F_BLK_SIZE, VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_RO,
    VIRTIO_BLK_F_SEG_MAX, VIRTIO_BLK_F_TOPOLOGY, VIRTIO_BLK_F_WRITE_ZEROES, VIRTIO_BLK_ID_BYTES,
    VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, VIRTIO_BLK_S_UNSUPP, virtio_blk_config,
};
use virtio_bindings::virtio_ids::VIRTIO_ID_BLOCK;
use virtio_queue::DescriptorChain;
use vm_memory::{Bytes, GuestMemoryMmap};

use super::backing::{Backing, Limits};
use super::request::{
    Command, Header, MAX_RANGE_SECTORS, MAX_RANGES, RequestError, SECTOR_BYTES, range_count,
    read_range, transfer_offset,
};
use crate::device::{DeviceError, Event, Progress, Queues, VirtioDevice};
use crate::faults::Faults;
use crate::ring::{MAX_REQUESTS_PER_CALL, RING_FEATURES, drain};
use crate::span::{Chain, GuestSpan, MAX_SEGMENTS};

const REQUEST_QUEUE: u16 = 0;
const QUEUE_MAX_SIZES: [u16; 1] = [256];

/// Data segments in one request: a full chain less header and status.
#[expect(clippy::cast_possible_truncation, reason = "a small constant")]
const SEG_MAX: u32 = MAX_SEGMENTS as u32 - 2;

/// The block size of the host file systems this runs on, as a power of two of the sector size:
/// smaller discards free nothing, smaller writes are read-modify-write.
const PHYSICAL_BLOCK_EXPONENT: u8 = 3;

/// The configuration space up to the fields of features never offered (secure erase, zones).
const CONFIG_BYTES: usize = offset_of!(virtio_blk_config, max_secure_erase_sectors);

/// A virtio block device (virtio 1.2, section 5.2) over some storage.
pub struct Disk<B> {
    backing: B,
    config: [u8; CONFIG_BYTES],
    chain: Chain,
    faults: Faults,
}

impl<B: Backing> Disk<B> {
    /// A disk of the backing's capacity.
    #[must_use]
    pub fn with_backing(backing: B) -> Self {
        Self {
            config: config_space(&backing),
            faults: Faults::new(backing.identifier()),
            chain: Chain::default(),
            backing,
        }
    }

    #[cfg(test)]
    pub(super) fn fault_count(&self) -> u64 {
        self.faults.count()
    }

    /// Serves one chain and says how many bytes were written into it.
    fn serve(
        &mut self,
        memory: &GuestMemoryMmap,
        descriptors: DescriptorChain<&GuestMemoryMmap>,
    ) -> u32 {
        if let Err(malformed) = self.chain.load(descriptors) {
            self.faults.note(&malformed);
            return 0;
        }
        let (mut source, mut target) = self.chain.spans(memory);
        let Some(status_address) = target.split_last() else {
            self.faults
                .note(&RequestError::Invalid("no room for a status"));
            return 0;
        };
        let capacity = target.length();
        let (status, data_bytes) = match execute(&mut self.backing, &mut source, &mut target) {
            Ok(()) => (VIRTIO_BLK_S_OK, capacity - target.length()),
            Err(source) => {
                self.faults.note(&source);
                let status = match source {
                    RequestError::Unsupported(_) => VIRTIO_BLK_S_UNSUPP,
                    RequestError::Invalid(_) | RequestError::Transfer(_) => VIRTIO_BLK_S_IOERR,
                };
                (status, 0)
            }
        };
        let [status, ..] = status.to_le_bytes();
        if let Err(outside) = memory.write_obj(status, status_address) {
            self.faults.note(&outside);
            return 0;
        }
        // Bounded by MAX_TRANSFER_BYTES.
        u32::try_from(data_bytes + 1).unwrap_or(u32::MAX)
    }
}

/// Does what one request asks, leaving in `target` the part not written.
fn execute<B: Backing>(
    backing: &mut B,
    source: &mut GuestSpan<'_>,
    target: &mut GuestSpan<'_>,
) -> Result<(), RequestError> {
    let header = Header::read(source)?;
    let capacity = backing.capacity_bytes();
    let unsupported = RequestError::Unsupported(header.command);
    let Some(command) = Command::from_number(header.command) else {
        return Err(unsupported);
    };
    let writable = backing.limits() == Limits::Writable;
    match command {
        Command::Read => {
            let offset = transfer_offset(header.sector, target.length(), capacity)?;
            backing.read(offset, target)?;
        }
        Command::Identify => {
            let mut identifier = [0; VIRTIO_BLK_ID_BYTES as usize];
            let length = identifier.len().min(target.length());
            for (to, from) in identifier.iter_mut().zip(backing.identifier().bytes()) {
                *to = from;
            }
            target.write_bytes(&identifier[..length])?;
        }
        Command::Write if !writable => return Err(RequestError::Invalid("disk is read-only")),
        Command::Write => {
            let offset = transfer_offset(header.sector, source.length(), capacity)?;
            backing.write(offset, source)?;
        }
        Command::Flush | Command::Discard | Command::WriteZeroes if !writable => {
            return Err(unsupported);
        }
        Command::Flush => backing.flush()?,
        Command::Discard | Command::WriteZeroes => {
            for _ in 0..range_count(source.length())? {
                let range = read_range(source, command, capacity)?;
                match command {
                    Command::Discard => backing.discard(range)?,
                    _ => backing.write_zeroes(range)?,
                }
            }
        }
    }
    Ok(())
}

/// What the guest reads about the disk.
fn config_space<B: Backing>(backing: &B) -> [u8; CONFIG_BYTES] {
    let mut config = [0; CONFIG_BYTES];
    let mut put = |offset: usize, bytes: &[u8]| {
        config[offset..offset + bytes.len()].copy_from_slice(bytes);
    };
    let sectors = backing.capacity_bytes() / SECTOR_BYTES;
    let block_sectors = 1_u32 << PHYSICAL_BLOCK_EXPONENT;
    put(
        offset_of!(virtio_blk_config, capacity),
        &sectors.to_le_bytes(),
    );
    put(
        offset_of!(virtio_blk_config, seg_max),
        &SEG_MAX.to_le_bytes(),
    );
    put(
        offset_of!(virtio_blk_config, blk_size),
        &512_u32.to_le_bytes(),
    );
    put(
        offset_of!(virtio_blk_config, physical_block_exp),
        &[PHYSICAL_BLOCK_EXPONENT],
    );
    put(
        offset_of!(virtio_blk_config, min_io_size),
        &(1_u16 << PHYSICAL_BLOCK_EXPONENT).to_le_bytes(),
    );
    if backing.limits() == Limits::Writable {
        for (offset, value) in [
            (
                offset_of!(virtio_blk_config, max_discard_sectors),
                MAX_RANGE_SECTORS,
            ),
            (offset_of!(virtio_blk_config, max_discard_seg), MAX_RANGES),
            (
                offset_of!(virtio_blk_config, discard_sector_alignment),
                block_sectors,
            ),
            (
                offset_of!(virtio_blk_config, max_write_zeroes_sectors),
                MAX_RANGE_SECTORS,
            ),
            (
                offset_of!(virtio_blk_config, max_write_zeroes_seg),
                MAX_RANGES,
            ),
        ] {
            put(offset, &value.to_le_bytes());
        }
        put(offset_of!(virtio_blk_config, write_zeroes_may_unmap), &[1]);
    }
    config
}

impl<B: Backing> VirtioDevice for Disk<B> {
    fn device_type(&self) -> u32 {
        VIRTIO_ID_BLOCK
    }

    fn queue_max_sizes(&self) -> &[u16] {
        &QUEUE_MAX_SIZES
    }

    fn features(&self) -> u64 {
        let always = (1 << VIRTIO_BLK_F_SEG_MAX)
            | (1 << VIRTIO_BLK_F_BLK_SIZE)
            | (1 << VIRTIO_BLK_F_TOPOLOGY);
        let by_backing = match self.backing.limits() {
            Limits::ReadOnly => 1 << VIRTIO_BLK_F_RO,
            Limits::Writable => {
                (1 << VIRTIO_BLK_F_FLUSH)
                    | (1 << VIRTIO_BLK_F_DISCARD)
                    | (1 << VIRTIO_BLK_F_WRITE_ZEROES)
            }
        };
        RING_FEATURES | always | by_backing
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|offset| self.config.get(offset..))
            .unwrap_or_default();
        for (to, from) in data.iter_mut().zip(rest) {
            *to = *from;
        }
    }

    /// Nothing is writable: the cache mode would be, and is not offered.
    fn write_config(&mut self, _offset: u64, _data: &[u8]) {}

    fn activate(&mut self, _acked: u64) {}

    fn host_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn handle(&mut self, event: Event, queues: &mut Queues<'_>) -> Result<Progress, DeviceError> {
        if event != Event::Queue(REQUEST_QUEUE) {
            return Ok(Progress::Idle);
        }
        drain(
            queues,
            REQUEST_QUEUE,
            MAX_REQUESTS_PER_CALL,
            |memory, descriptors| self.serve(memory, descriptors),
        )
    }

    fn reset(&mut self) {}
}

impl<B: Backing> fmt::Debug for Disk<B> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Disk")
            .field("identifier", &self.backing.identifier())
            .field("capacity_bytes", &self.backing.capacity_bytes())
            .finish_non_exhaustive()
    }
}
