//! A guest that does what it likes with its NIC: the link only ever sees frames of a lawful length,
//! and the device comes to rest.
#![no_main]

use std::collections::VecDeque;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd};

use dhow_fuzz::{Guest, Mischief};
use dhow_virtio::net::{Checksums, Link};
use dhow_virtio::{Event, Net, NetConfig, VirtioDevice};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

const MTU: u16 = 65_520;

/// More than the guest's memory holds of the largest frames.
const MAX_WAITING: usize = 100;

#[derive(Arbitrary, Debug)]
enum Step {
    Guest(Mischief),
    /// The link's descriptor is readable: one more frame.
    Host,
}

/// Has as many frames as it was sent or told to make.
struct Wire {
    waiting: VecDeque<usize>,
    silence: PipeReader,
    _keeps_it_silent: PipeWriter,
}

impl Link for Wire {
    fn host_fd(&self) -> BorrowedFd<'_> {
        self.silence.as_fd()
    }

    fn agree(&mut self, _checksums: Checksums) {}

    fn receive(&mut self, frame: &[u8]) {
        assert!((14..=usize::from(MTU) + 18).contains(&frame.len()));
        if self.waiting.len() < MAX_WAITING {
            self.waiting.push_back(frame.len());
        }
    }

    fn poll(&mut self) -> io::Result<()> {
        self.waiting.push_back(60);
        Ok(())
    }

    fn transmit(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let length = self.waiting.pop_front()?;
        buffer[..length].fill(0x5a);
        Some(length)
    }

    fn reset(&mut self) {
        self.waiting.clear();
    }
}

fuzz_target!(|input: (u64, Vec<u16>, Vec<Step>)| {
    let (features, lengths, steps) = input;
    let (silence, keeper) = io::pipe().expect("a pipe");
    let wire = Wire {
        waiting: lengths
            .into_iter()
            .take(MAX_WAITING)
            .map(|length| usize::from(length.max(14)))
            .collect(),
        silence,
        _keeps_it_silent: keeper,
    };
    let mut device = Net::new(
        NetConfig {
            mac: [2, 0, 0, 0, 0, 1],
            mtu: MTU,
        },
        Box::new(wire),
    );
    device.activate(device.features() & features);
    let mut guest = Guest::new(2);
    for step in &steps {
        match step {
            Step::Guest(mischief) => guest.act(&mut device, mischief),
            Step::Host => guest.handle(&mut device, Event::Host),
        }
    }
});
