//! Both disks against a mock guest: what they serve, and what a hostile guest gets instead.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};

use proptest::prelude::*;
use virtio_bindings::virtio_blk::*;
use virtio_bindings::virtio_ring::{VRING_DESC_F_INDIRECT, VRING_DESC_F_NEXT};
use virtio_queue::desc::{RawDescriptor, split::Descriptor};

use super::*;
use crate::device::{DeviceError, VirtioDevice};
use crate::mock_guest::{MEMORY_BYTES, MockGuest, Part, memory};
use crate::span::GuestSpan;

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

mod layers {
    use super::*;

    #[test]
    fn a_read_spans_a_layer_a_hole_and_the_next_layer() {
        let memory = memory();
        let mut guest = MockGuest::new(&memory);
        let (mut disk, map) = LayerDisk::new(1 << 40);
        map.map(0, file_with(&[1; 4096]), 4096).unwrap();
        map.map(12288, file_with(&[2; 5000]), 5000).unwrap();
        guest.write(DATA, &[9; 20480]);

        let status = request(
            &mut guest,
            &mut disk,
            VIRTIO_BLK_T_IN,
            0,
            &[
                Part::Writable(DATA, 5000),
                Part::Writable(DATA + 5000, 15480),
            ],
        );

        assert_eq!(status, OK);
        assert_eq!(guest.used(), [20481]);
        let read = guest.read(DATA, 20480);
        assert_eq!(read[..4096], [1; 4096]);
        assert_eq!(read[4096..12288], [0; 8192]);
        assert_eq!(read[12288..17288], [2; 5000]);
        assert_eq!(read[17288..], [0; 3192]);
    }

    #[test]
    fn a_layer_appears_and_disappears_while_the_disk_runs() {
        let memory = memory();
        let mut guest = MockGuest::new(&memory);
        let (mut disk, map) = LayerDisk::new(1 << 20);
        let read = [Part::Writable(DATA, 512)];

        request(&mut guest, &mut disk, VIRTIO_BLK_T_IN, 8, &read);
        let before = guest.read(DATA, 1);
        map.map(4096, file_with(&[7; 512]), 512).unwrap();
        request(&mut guest, &mut disk, VIRTIO_BLK_T_IN, 8, &read);
        let mapped = guest.read(DATA, 1);
        assert!(map.unmap(4096));
        request(&mut guest, &mut disk, VIRTIO_BLK_T_IN, 8, &read);

        assert_eq!(
            (before, mapped, guest.read(DATA, 1)),
            (vec![0], vec![7], vec![0])
        );
        assert!(!map.unmap(4096));
    }

    #[test]
    fn refuses_every_command_that_would_write() {
        let memory = memory();
        let mut guest = MockGuest::new(&memory);
        let (mut disk, _map) = LayerDisk::new(1 << 20);
        let data = [Part::Readable(DATA, 512)];

        assert_eq!(
            request(&mut guest, &mut disk, VIRTIO_BLK_T_OUT, 0, &data),
            IOERR
        );
        assert_eq!(
            request(&mut guest, &mut disk, VIRTIO_BLK_T_FLUSH, 0, &[]),
            UNSUPP
        );
        assert_eq!(
            request(&mut guest, &mut disk, VIRTIO_BLK_T_DISCARD, 0, &data),
            UNSUPP
        );
        assert_ne!(disk.features() & 1 << VIRTIO_BLK_F_RO, 0);
        assert_eq!(disk.features() & 1 << VIRTIO_BLK_F_FLUSH, 0);
    }

    #[test]
    fn a_layer_cut_short_by_the_host_is_an_error_not_zeroes() {
        let memory = memory();
        let mut guest = MockGuest::new(&memory);
        let (mut disk, map) = LayerDisk::new(1 << 20);
        let file = file_with(&[1; 8192]);
        map.map(0, file.try_clone().unwrap(), 8192).unwrap();
        file.set_len(4096).unwrap();

        let data = [Part::Writable(DATA, 8192)];
        let status = request(&mut guest, &mut disk, VIRTIO_BLK_T_IN, 0, &data);

        assert_eq!(status, IOERR);
    }

    #[test]
    fn a_map_refuses_what_cannot_be() {
        let (_disk, map) = LayerDisk::new(64 * 1024);
        map.map(8192, file_with(&[0; 8192]), 8192).unwrap();
        let attempt = |offset, length| map.map(offset, file_with(&[0; 8192]), length).unwrap_err();

        assert!(matches!(
            attempt(512, 512),
            MapError::Unaligned { offset: 512 }
        ));
        assert!(matches!(attempt(0, 0), MapError::Empty { .. }));
        assert!(matches!(
            attempt(0, 8193),
            MapError::TooShort { actual: 8192, .. }
        ));
        assert!(matches!(
            attempt(61440, 8192),
            MapError::BeyondCapacity { .. }
        ));
        assert!(matches!(
            attempt(u64::MAX - 4095, 4096),
            MapError::BeyondCapacity { .. }
        ));
        assert!(matches!(
            attempt(8192, 4096),
            MapError::Overlap { other: 8192, .. }
        ));
        assert!(matches!(
            attempt(12288, 4096),
            MapError::Overlap { other: 8192, .. }
        ));
        assert!(matches!(
            attempt(4096, 4097),
            MapError::Overlap { other: 8192, .. }
        ));
        map.map(4096, file_with(&[0; 4096]), 4096).unwrap();
        map.map(16384, file_with(&[0; 4096]), 4096).unwrap();
    }
}

mod data {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_in_the_file() {
        let memory = memory();
        let mut guest = MockGuest::new(&memory);
        let (mut disk, file) = data_disk(64 * 1024, 0);
        guest.write(DATA, &[5; 1024]);
        let out = [Part::Readable(DATA, 600), Part::Readable(DATA + 600, 424)];
        let back = [Part::Writable(DATA + 8192, 1024)];

        assert_eq!(
            request(&mut guest, &mut disk, VIRTIO_BLK_T_OUT, 3, &out),
            OK
        );
        assert_eq!(
            request(&mut guest, &mut disk, VIRTIO_BLK_T_FLUSH, 0, &[]),
            OK
        );
        assert_eq!(
            request(&mut guest, &mut disk, VIRTIO_BLK_T_IN, 3, &back),
            OK
        );

        assert_eq!(guest.used(), [1, 1, 1025]);
        assert_eq!(guest.read(DATA + 8192, 1024), vec![5; 1024]);
        let mut stored = [0; 1024];
        file.read_exact_at(&mut stored, 3 * 512).unwrap();
        assert_eq!(stored, [5; 1024]);
    }

    #[test]
    fn discard_gives_space_back_to_the_host() {
        let memory = memory();
        let mut guest = MockGuest::new(&memory);
        let (mut disk, file) = data_disk(1 << 20, 0xaa);
        let blocks_before = file.metadata().unwrap().blocks();
        let holes = ranges(&guest, &[(0, 1024, 0), (1536, 512, 0)]);

        let status = request(&mut guest, &mut disk, VIRTIO_BLK_T_DISCARD, 0, &[holes]);

        assert_eq!(status, OK);
        let metadata = file.metadata().unwrap();
        assert_eq!(metadata.len(), 1 << 20);
        assert!(
            metadata.blocks() + 1536 <= blocks_before,
            "space was not freed"
        );
        let mut kept = [0; 1];
        file.read_exact_at(&mut kept, 1024 * 512).unwrap();
        assert_eq!(kept, [0xaa]);
    }

    #[test]
    fn write_zeroes_reads_back_as_zeroes() {
        let memory = memory();
        let mut guest = MockGuest::new(&memory);
        let (mut disk, mut file) = data_disk(64 * 1024, 0xaa);
        let zeroes = ranges(&guest, &[(1, 3, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP)]);

        let status = request(
            &mut guest,
            &mut disk,
            VIRTIO_BLK_T_WRITE_ZEROES,
            0,
            &[zeroes],
        );

        assert_eq!(status, OK);
        let mut stored = Vec::new();
        file.seek(SeekFrom::Start(0)).unwrap();
        file.read_to_end(&mut stored).unwrap();
        assert_eq!(stored[..512], [0xaa; 512]);
        assert_eq!(stored[512..2048], [0; 1536]);
        assert_eq!(stored[2048..], [0xaa; 62 * 1024]);
    }

    #[test]
    fn discard_and_write_zeroes_stay_inside_what_was_offered() {
        let memory = memory();
        let mut guest = MockGuest::new(&memory);
        let (mut disk, file) = data_disk(64 * 1024, 0xaa);
        let mut status = |range: (u64, u32, u32), command| {
            let part = ranges(&guest, &[range]);
            request(&mut guest, &mut disk, command, 0, &[part])
        };

        assert_eq!(status((127, 2, 0), VIRTIO_BLK_T_DISCARD), IOERR);
        assert_eq!(status((u64::MAX, 2, 0), VIRTIO_BLK_T_DISCARD), IOERR);
        assert_eq!(
            status((u64::MAX / 512, u32::MAX, 0), VIRTIO_BLK_T_WRITE_ZEROES),
            IOERR
        );
        assert_eq!(status((0, 1, 1), VIRTIO_BLK_T_DISCARD), UNSUPP);
        assert_eq!(status((0, 1, 2), VIRTIO_BLK_T_WRITE_ZEROES), UNSUPP);
        assert_eq!(status((0, 0, 0), VIRTIO_BLK_T_DISCARD), OK);
        let too_many = Part::Readable(DATA, 17 * 16);
        let answer = request(&mut guest, &mut disk, VIRTIO_BLK_T_DISCARD, 0, &[too_many]);
        assert_eq!(answer, IOERR);
        let mut stored = vec![0; 64 * 1024];
        file.read_exact_at(&mut stored, 0).unwrap();
        assert_eq!(stored, vec![0xaa; 64 * 1024]);
    }

    #[test]
    fn says_who_it_is() {
        let memory = memory();
        let mut guest = MockGuest::new(&memory);
        let (mut disk, _file) = data_disk(4096, 0);
        let data = [Part::Writable(DATA, 20)];

        let status = request(&mut guest, &mut disk, VIRTIO_BLK_T_GET_ID, 0, &data);

        assert_eq!(status, OK);
        assert_eq!(guest.read(DATA, 20), b"dhow-data\0\0\0\0\0\0\0\0\0\0\0");
    }

    #[test]
    fn tells_the_guest_its_size_and_limits() {
        let (disk, _file) = data_disk(1 << 20, 0);
        let field = |offset: usize| {
            let mut bytes = [0; 4];
            disk.read_config(offset as u64, &mut bytes);
            u32::from_le_bytes(bytes)
        };

        assert_eq!(
            field(std::mem::offset_of!(virtio_blk_config, capacity)),
            2048
        );
        assert_eq!(field(std::mem::offset_of!(virtio_blk_config, seg_max)), 254);
        assert_eq!(
            field(std::mem::offset_of!(virtio_blk_config, max_discard_seg)),
            16
        );
        assert_eq!(field(4096), 0);
    }

    #[test]
    fn refuses_files_that_are_no_disk() {
        let folder = File::open(std::env::temp_dir()).unwrap();

        assert!(matches!(
            DataDisk::new(folder),
            Err(OpenDiskError::NotRegular)
        ));
        assert!(matches!(
            DataDisk::new(file_with(&[0; 511])),
            Err(OpenDiskError::TooSmall { length: 511 })
        ));
    }
}

/// A backing on a host whose disk is full.
struct FullHost;

impl Backing for FullHost {
    fn capacity_bytes(&self) -> u64 {
        1 << 20
    }
    fn identifier(&self) -> &'static str {
        "full"
    }
    fn limits(&self) -> Limits {
        Limits::Writable
    }
    fn read(&mut self, _offset: u64, target: &mut GuestSpan<'_>) -> io::Result<()> {
        target.fill_zeroes(target.length())
    }
    fn write(&mut self, _offset: u64, _source: &mut GuestSpan<'_>) -> io::Result<()> {
        Err(io::ErrorKind::StorageFull.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::StorageFull.into())
    }
    fn discard(&mut self, _range: Range<u64>) -> io::Result<()> {
        Ok(())
    }
    fn write_zeroes(&mut self, _range: Range<u64>) -> io::Result<()> {
        Err(io::ErrorKind::StorageFull.into())
    }
}

#[test]
fn a_full_host_is_an_io_error_and_the_disk_goes_on() {
    let memory = memory();
    let mut guest = MockGuest::new(&memory);
    let mut disk = Disk::with_backing(FullHost);
    let out = [Part::Readable(DATA, 512)];
    let back = [Part::Writable(DATA, 512)];

    assert_eq!(
        request(&mut guest, &mut disk, VIRTIO_BLK_T_OUT, 0, &out),
        IOERR
    );
    assert_eq!(
        request(&mut guest, &mut disk, VIRTIO_BLK_T_FLUSH, 0, &[]),
        IOERR
    );
    assert_eq!(
        request(&mut guest, &mut disk, VIRTIO_BLK_T_IN, 0, &back),
        OK
    );
    assert_eq!(disk.fault_count(), 2);
}

#[test]
fn transfers_outside_the_disk_or_of_odd_sizes_are_refused() {
    let memory = memory();
    let mut guest = MockGuest::new(&memory);
    let (mut disk, _file) = data_disk(64 * 1024, 0xaa);
    let mut read = |sector, length| {
        let data = [Part::Writable(DATA, length)];
        request(&mut guest, &mut disk, VIRTIO_BLK_T_IN, sector, &data)
    };

    assert_eq!(read(127, 512), OK);
    assert_eq!(read(128, 512), IOERR);
    assert_eq!(read(127, 1024), IOERR);
    assert_eq!(read(u64::MAX, 512), IOERR);
    assert_eq!(read(u64::MAX / 512, 1024), IOERR);
    assert_eq!(read(0, 513), IOERR);
    assert_eq!(
        request(&mut guest, &mut disk, VIRTIO_BLK_T_IN, 0, &[]),
        IOERR
    );
    assert_eq!(request(&mut guest, &mut disk, 99, 0, &[]), UNSUPP);
}

#[test]
fn data_outside_guest_memory_is_an_io_error() {
    let memory = memory();
    let mut guest = MockGuest::new(&memory);
    let (mut disk, file) = data_disk(64 * 1024, 0xaa);
    let end = MEMORY_BYTES as u64;
    let beyond = [Part::Writable(end - 512, 1024)];
    let wrapping = [Part::Readable(u64::MAX - 100, 512)];

    assert_eq!(
        request(&mut guest, &mut disk, VIRTIO_BLK_T_IN, 0, &beyond),
        IOERR
    );
    assert_eq!(
        request(&mut guest, &mut disk, VIRTIO_BLK_T_OUT, 0, &wrapping),
        IOERR
    );

    let mut stored = [0; 512];
    file.read_exact_at(&mut stored, 0).unwrap();
    assert_eq!(stored, [0xaa; 512]);
}

#[test]
fn a_request_larger_than_any_honest_one_is_refused() {
    let memory = memory();
    let mut guest = MockGuest::new(&memory);
    let (mut disk, _map) = LayerDisk::new(1 << 40);
    let data = [Part::Writable(DATA, 8 << 20); 5];

    let status = request(&mut guest, &mut disk, VIRTIO_BLK_T_IN, 0, &data);

    assert_eq!(status, IOERR);
}

#[test]
fn chains_without_header_or_status_are_dropped_and_counted() {
    let memory = memory();
    let mut guest = MockGuest::new(&memory);
    let (mut disk, _file) = data_disk(4096, 0);
    guest.offer(&[Part::Readable(HEADER, 16)]);
    guest.offer(&[Part::Readable(HEADER, 15), Part::Writable(STATUS, 1)]);
    guest.offer(&[Part::Writable(STATUS, 1), Part::Readable(HEADER, 16)]);
    guest.offer(&[Part::Readable(HEADER, 16), Part::Writable(u64::MAX, 1)]);

    guest.kick(&mut disk).unwrap();

    assert_eq!(guest.used(), [0, 1, 0, 0]);
    assert_eq!(guest.read(STATUS, 1), [IOERR]);
    // The last one twice: it asks for no data, and its status cannot be written.
    assert_eq!(disk.fault_count(), 5);
    assert_eq!(guest.interrupts(), 1);
}

#[test]
fn a_chain_that_loops_or_leaves_the_table_is_dropped() {
    let memory = memory();
    let mut guest = MockGuest::new(&memory);
    let (mut disk, _file) = data_disk(4096, 0);
    let next = u16::try_from(VRING_DESC_F_NEXT).unwrap();
    let to_itself = Descriptor::new(HEADER, 16, next, 0);
    let to_nowhere = Descriptor::new(HEADER, 16, next, 4000);
    guest.offer_raw(&[RawDescriptor::from(to_itself)]);
    guest.offer_raw(&[RawDescriptor::from(to_nowhere)]);
    guest.claim_available(2);

    guest.kick(&mut disk).unwrap();

    assert_eq!(guest.used(), [0, 0]);
    assert_eq!(disk.fault_count(), 2);
}

#[test]
fn an_indirect_table_is_served_and_an_endless_one_is_not() {
    let memory = memory();
    let mut guest = MockGuest::new(&memory);
    let (mut disk, _file) = data_disk(4096, 0xaa);
    let table = 0x40_0000;
    let mut entries = Vec::new();
    for (address, length, flags, next) in [
        (HEADER, 16_u32, 1_u16, 1_u16),
        (DATA, 512, 3, 2),
        (STATUS, 1, 2, 0),
    ] {
        entries.extend(u64::to_le_bytes(address));
        entries.extend(length.to_le_bytes());
        entries.extend(flags.to_le_bytes());
        entries.extend(next.to_le_bytes());
    }
    guest.write(table, &entries);
    guest.write(HEADER, &[0; 16]);
    let indirect = u16::try_from(VRING_DESC_F_INDIRECT).unwrap();
    guest.offer_raw(&[Descriptor::new(table, 48, indirect, 0).into()]);
    let endless = 0x50_0000;
    for index in 0..2000_u16 {
        let mut entry = Vec::new();
        entry.extend(DATA.to_le_bytes());
        entry.extend(512_u32.to_le_bytes());
        entry.extend(3_u16.to_le_bytes());
        entry.extend((index + 1).to_le_bytes());
        guest.write(endless + u64::from(index) * 16, &entry);
    }
    guest.offer_raw(&[Descriptor::new(endless, 2000 * 16, indirect, 0).into()]);

    guest.kick(&mut disk).unwrap();

    assert_eq!(guest.used(), [513, 0]);
    assert_eq!(guest.read(DATA, 512), vec![0xaa; 512]);
}

#[test]
fn a_broken_ring_is_reported_to_the_driver() {
    let memory = memory();
    let mut guest = MockGuest::new(&memory);
    let (mut disk, _file) = data_disk(4096, 0);
    guest.claim_available(300);

    let error = guest.kick(&mut disk).unwrap_err();

    assert!(matches!(error, DeviceError::Queue { queue: 0, .. }));
}

/// Splits `length` bytes of guest memory at `DATA` into parts at the given cuts.
fn split(length: u32, cuts: &[u32]) -> Vec<Part> {
    let mut edges: Vec<_> = cuts.iter().map(|cut| cut % length).collect();
    edges.extend([0, length]);
    edges.sort_unstable();
    edges
        .windows(2)
        .map(|pair| Part::Writable(DATA + u64::from(pair[0]), pair[1] - pair[0]))
        .collect()
}

proptest! {
    /// However layers lie and requests are framed, a read shows the layers with zeroes between.
    #[test]
    fn any_read_of_any_layers_equals_the_model(
        blocks in proptest::collection::vec((0_u64..3, 1_usize..12_000), 1..6),
        sector in 0_u64..150,
        sectors in 1_u32..100,
        cuts in proptest::collection::vec(any::<u32>(), 0..8),
    ) {
        let memory = memory();
        let mut guest = MockGuest::new(&memory);
        let (mut disk, map) = LayerDisk::new(1 << 30);
        let mut model = vec![0; 1 << 20];
        let mut offset = 0;
        for (index, (gap, length)) in blocks.iter().enumerate() {
            offset += gap * LAYER_ALIGNMENT_BYTES;
            let content = vec![u8::try_from(index + 1).unwrap(); *length];
            let start = usize::try_from(offset).unwrap();
            model[start..start + length].copy_from_slice(&content);
            map.map(offset, file_with(&content), *length as u64).unwrap();
            offset += (*length as u64).next_multiple_of(LAYER_ALIGNMENT_BYTES);
        }
        let length = sectors * 512;

        let status = request(&mut guest, &mut disk, VIRTIO_BLK_T_IN, sector, &split(length, &cuts));

        prop_assert_eq!(status, OK);
        let start = usize::try_from(sector * 512).unwrap();
        let read = guest.read(DATA, length as usize);
        prop_assert_eq!(&read[..], &model[start..start + length as usize]);
    }

    /// Whatever a guest puts into a chain, the disk answers or drops it and keeps its bounds.
    #[test]
    fn no_chain_makes_the_disk_fail(
        header in any::<[u8; 16]>(),
        command in 0_u32..16,
        sector in prop_oneof![0_u64..200, any::<u64>()],
        parts in proptest::collection::vec(
            (any::<bool>(), prop_oneof![0_u64..0x100_0000, any::<u64>()],
             prop_oneof![0_u32..2048, any::<u32>()]),
            1..10,
        ),
    ) {
        let memory = memory();
        let mut guest = MockGuest::new(&memory);
        let (mut disk, file) = data_disk(64 * 1024, 0xaa);
        let mut header = header;
        header[..4].copy_from_slice(&command.to_le_bytes());
        header[8..].copy_from_slice(&sector.to_le_bytes());
        guest.write(HEADER, &header);
        let mut chain = vec![Part::Readable(HEADER, 16)];
        // The ring itself lies below the header; a guest that lets the device write into its own
        // ring is another test's.
        chain.extend(parts.iter().map(|(write, address, length)| match write {
            true => Part::Writable(address | DATA, *length),
            false => Part::Readable(*address, *length),
        }));
        guest.offer(&chain);

        guest.kick(&mut disk).unwrap();

        prop_assert_eq!(guest.used().len(), 1);
        prop_assert_eq!(file.metadata().unwrap().len(), 64 * 1024);
    }
}
