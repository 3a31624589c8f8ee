//! The data disk: what is written stays, what is discarded is given back.

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
