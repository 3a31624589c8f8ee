//! Random layers and random chains: reads equal a model, and nothing breaks the disk.

use proptest::prelude::*;

use super::*;

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
