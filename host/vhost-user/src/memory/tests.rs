//! Memory tables: translation, sharing, and what is refused.

use super::*;
use proptest::prelude::*;

const LENGTH: u64 = 1 << 16;

fn file() -> OwnedFd {
    let file = tempfile::tempfile().unwrap();
    file.set_len(LENGTH).unwrap();
    file.into()
}

fn message(regions: &[[u64; 4]], files: Vec<OwnedFd>) -> Message {
    let mut payload = Vec::new();
    payload.extend(u32::try_from(regions.len()).unwrap().to_ne_bytes());
    payload.extend(0_u32.to_ne_bytes());
    for word in regions.as_flattened() {
        payload.extend(word.to_ne_bytes());
    }
    Message {
        request: 5,
        payload,
        files,
    }
}

#[test]
fn addresses_of_the_front_end_become_guest_addresses() {
    let regions = [
        [0x10_0000, LENGTH / 2, 0x7000_0000, LENGTH / 2],
        [0, LENGTH / 2, 0x9000_0000, 0],
    ];
    let mut mappings = Mappings::default();

    let table = mappings
        .table(message(&regions, vec![file(), file()]))
        .unwrap();

    assert_eq!(table.translate(0x7000_0010), Some(GuestAddress(0x10_0010)));
    assert_eq!(table.translate(0x9000_0000), Some(GuestAddress(0)));
    assert_eq!(table.translate(0x7000_0000 + LENGTH / 2), None);
    assert_eq!(table.translate(0x6fff_ffff), None);
}

#[test]
fn devices_of_one_machine_share_a_mapping_for_as_long_as_one_lives() {
    let memory = file();
    let regions = [[0, LENGTH, 0, 0]];
    let mut mappings = Mappings::default();
    let mut table = || {
        let files = vec![memory.try_clone().unwrap()];
        mappings.table(message(&regions, files)).unwrap()
    };
    let place = |table: &MemoryTable| {
        let region = vm_memory::GuestMemoryBackend::iter(table.guest()).next();
        region.map(|region| region.as_ptr())
    };

    let (first, second) = (table(), table());

    assert_eq!(place(&first), place(&second));
    drop((first, second));
    assert_eq!(
        mappings
            .live
            .iter()
            .filter(|(_, live)| live.strong_count() > 0)
            .count(),
        0
    );
}

#[test]
fn tables_that_cannot_be_are_refused() {
    let mut mappings = Mappings::default();
    let mut refused = |regions: &[[u64; 4]], files: usize| {
        let files = (0..files).map(|_| file()).collect();
        mappings.table(message(regions, files)).unwrap_err()
    };
    let good = [0, LENGTH, 0, 0];

    assert!(matches!(refused(&[], 0), MemoryError::Count { .. }));
    assert!(matches!(refused(&[good], 2), MemoryError::Count { .. }));
    assert!(matches!(
        refused(&[[0, 0, 0, 0]], 1),
        MemoryError::Range { index: 0 }
    ));
    assert!(matches!(
        refused(&[[u64::MAX, LENGTH, 0, 0]], 1),
        MemoryError::Range { .. }
    ));
    assert!(matches!(
        refused(&[[0, LENGTH, u64::MAX, 0]], 1),
        MemoryError::Range { .. }
    ));
    assert!(matches!(
        refused(&[[0, LENGTH * 2, 0, 0]], 1),
        MemoryError::BeyondFile { index: 0, .. }
    ));
    assert!(matches!(
        refused(&[[0, LENGTH - 1, 0, 1]], 1),
        MemoryError::Map { .. }
    ));
    assert!(matches!(refused(&[good, good], 2), MemoryError::Layout(_)));
}

proptest! {
    /// Whatever the payload says, a table is made or refused.
    #[test]
    fn no_payload_breaks_the_parser(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut payload = payload;
        if let Some(count) = payload.get_mut(..4) {
            count.copy_from_slice(&2_u32.to_ne_bytes());
        }
        let message = Message { request: 5, payload, files: vec![file(), file()] };

        let _ = Mappings::default().table(message);
    }
}
