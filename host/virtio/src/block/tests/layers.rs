//! The layer disk: what lies where, and that nothing is ever written.

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
