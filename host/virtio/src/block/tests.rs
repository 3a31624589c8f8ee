//! Both disks against a mock guest: what they serve, and what a hostile guest gets instead.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};

use virtio_bindings::virtio_blk::*;
use virtio_bindings::virtio_ring::{VRING_DESC_F_INDIRECT, VRING_DESC_F_NEXT};
use virtio_queue::desc::{RawDescriptor, split::Descriptor};

use super::*;
use crate::device::{DeviceError, VirtioDevice};
use crate::mock_guest::{MEMORY_BYTES, MockGuest, Part, memory};
use crate::span::GuestSpan;

mod data;
mod hostile;
mod layers;
mod random;

const HEADER: u64 = 0x10_0000;
const STATUS: u64 = 0x10_1000;
const DATA: u64 = 0x20_0000;
const UNTOUCHED: u8 = 0xff;

const OK: u8 = VIRTIO_BLK_S_OK.to_le_bytes()[0];
const IOERR: u8 = VIRTIO_BLK_S_IOERR.to_le_bytes()[0];
const UNSUPP: u8 = VIRTIO_BLK_S_UNSUPP.to_le_bytes()[0];

/// Sends one request and returns its status.
fn request(
    guest: &mut MockGuest<'_>,
    disk: &mut dyn VirtioDevice,
    command: u32,
    sector: u64,
    data: &[Part],
) -> u8 {
    let mut header = Vec::new();
    header.extend(command.to_le_bytes());
    header.extend(0_u32.to_le_bytes());
    header.extend(sector.to_le_bytes());
    guest.write(HEADER, &header);
    guest.write(STATUS, &[UNTOUCHED]);
    let mut parts = vec![Part::Readable(HEADER, 16)];
    parts.extend(data);
    parts.push(Part::Writable(STATUS, 1));
    guest.offer(&parts);
    guest.kick(disk).unwrap();
    guest.read(STATUS, 1)[0]
}

fn file_with(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// A data disk of `length` bytes, all `fill`, and another handle of its file.
fn data_disk(length: usize, fill: u8) -> (DataDisk, File) {
    let file = file_with(&vec![fill; length]);
    file.sync_all().unwrap();
    (DataDisk::new(file.try_clone().unwrap()).unwrap(), file)
}

fn ranges(guest: &MockGuest<'_>, ranges: &[(u64, u32, u32)]) -> Part {
    let mut bytes = Vec::new();
    for (sector, count, flags) in ranges {
        bytes.extend(sector.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        bytes.extend(flags.to_le_bytes());
    }
    guest.write(DATA, &bytes);
    Part::Readable(DATA, u32::try_from(bytes.len()).unwrap())
}
