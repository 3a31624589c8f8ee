//! A guest that does what it likes with its disks: the data disk's file keeps its length, and the
//! layer disk's layer its bytes.
#![no_main]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::LazyLock;

use dhow_fuzz::{Guest, Mischief, Piece};
use dhow_virtio::{DataDisk, LayerDisk, VirtioDevice};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

const DISK_BYTES: u64 = 1 << 20;
const LAYER: [u8; 8192] = [0x5a; 8192];

static FILES: LazyLock<(File, File)> = LazyLock::new(|| {
    let data = tempfile::tempfile().expect("a temporary file");
    data.set_len(DISK_BYTES).expect("a length");
    let layer = tempfile::tempfile().expect("a temporary file");
    layer.write_all_at(&LAYER, 0).expect("a layer");
    (data, layer)
});

#[derive(Arbitrary, Debug)]
enum Step {
    Guest(Mischief),
    /// A request whose header is right, with whatever behind it.
    Request {
        command: u8,
        sector: u16,
        data: Vec<Piece>,
    },
}

/// Where headers are written.
const HEADERS: u16 = 0x100;

fn request(guest: &mut Guest, number: usize, command: u8, sector: u16, data: &[Piece]) {
    let place = HEADERS + u16::try_from(number % 256).expect("below 256");
    let mut header = [0; 16];
    header[0] = command;
    header[8..10].copy_from_slice(&sector.to_le_bytes());
    guest.write(place, &header);
    let mut pieces = vec![Piece {
        place,
        length: 16,
        writable: false,
    }];
    pieces.extend(data.iter().take(3));
    guest.offer(0, &pieces);
}

fn run(device: &mut dyn VirtioDevice, steps: &[Step]) {
    device.activate(device.features());
    let mut guest = Guest::new(1);
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::Guest(mischief) => guest.act(device, mischief),
            Step::Request {
                command,
                sector,
                data,
            } => {
                request(&mut guest, number, *command, *sector, data);
            }
        }
    }
    guest.act(device, &Mischief::Kick { queue: 0 });
}

fuzz_target!(|input: (bool, Vec<Step>)| {
    let (writable, steps) = input;
    let (data, layer) = &*FILES;
    if writable {
        let copy = data.try_clone().expect("a descriptor");
        run(&mut DataDisk::new(copy).expect("a disk"), &steps);
        assert_eq!(data.metadata().expect("metadata").len(), DISK_BYTES);
    } else {
        let (mut disk, map) = LayerDisk::new(DISK_BYTES);
        let copy = layer.try_clone().expect("a descriptor");
        map.map(4096, copy, LAYER.len() as u64)
            .expect("a free place");
        run(&mut disk, &steps);
        let mut bytes = [0; LAYER.len()];
        layer.read_exact_at(&mut bytes, 0).expect("the layer");
        assert_eq!(bytes, LAYER);
    }
});
