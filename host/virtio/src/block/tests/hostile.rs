//! What a hostile guest and a full host make of a disk.

use super::*;

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
