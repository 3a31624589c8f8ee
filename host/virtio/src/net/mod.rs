//! The network device: Ethernet frames between a guest's driver and whatever stands behind the NIC.
//!
//! A frame of the guest is put together from the ring into one buffer and handed to the
//! [`Link`]; a frame for the guest is written by the link into another and from there straight into
//! the guest's buffers, as many as it takes (`VIRTIO_NET_F_MRG_RXBUF`). There is no segmentation
//! offload: the link's MTU is offered to the guest instead, so large frames are ordinary frames.
//!
//! - `mod`: the device as its driver sees it
//! - `link`: what lies behind it
//! - `header`: what precedes each frame on the rings
//! - `from_guest`, `to_guest`: the two queues
//!
//! Rule: nothing queues up here. Where the guest offers no buffers the link keeps its frames, all
//! but the one in hand, and slows down whoever sends them.

mod from_guest;
mod header;
mod link;
mod to_guest;

#[cfg(test)]
mod tests;

use std::fmt;
use std::os::fd::BorrowedFd;

use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::virtio_ids::VIRTIO_ID_NET;
use virtio_bindings::virtio_net::{
    VIRTIO_NET_F_CSUM, VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_MAC, VIRTIO_NET_F_MRG_RXBUF,
    VIRTIO_NET_F_MTU,
};

pub use link::{Checksums, Link};

use crate::device::{DeviceError, Event, Progress, Queues, VirtioDevice};
use crate::faults::Faults;
use crate::ring::RING_FEATURES;
use crate::span::Chain;
use header::Headers;
use to_guest::Gathered;

/// Index of the queue whose buffers carry frames to the guest.
const RECEIVE_QUEUE: u16 = 0;

/// Index of the queue whose buffers carry frames from the guest.
const TRANSMIT_QUEUE: u16 = 1;

/// Sizes of the receive and the transmit queue. At 4 KiB a buffer, the receive queue holds fifteen
/// frames of the largest size.
const QUEUE_SIZES: [u16; 2] = [256, 256];

/// What a frame has besides its packet: two addresses, a type, and an 802.1Q tag.
const FRAME_OVERHEAD_BYTES: usize = 18;

/// Addresses and type: without them it is no frame.
const MIN_FRAME_BYTES: usize = 14;

/// The configuration space up to and with the MTU (virtio 1.2, section 5.1.4).
const CONFIG_BYTES: usize = 12;

/// Why a buffer or a frame was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum NetFault {
    #[error("a frame of {0} bytes")]
    FrameLength(usize),
    #[error("a frame for the guest that fits none of its buffers")]
    NoBufferFits,
    #[error("a receive buffer no frame can be written to")]
    UselessBuffer,
}

/// What a network device is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetConfig {
    /// The guest's hardware address.
    pub mac: [u8; 6],
    /// The largest packet a frame carries, offered to the guest; at least 68, as the guest refuses
    /// less.
    pub mtu: u16,
}

/// A network interface of the guest (virtio 1.2, section 5.1).
pub struct Net {
    config: [u8; CONFIG_BYTES],
    link: Box<dyn Link>,
    headers: Headers,
    chain: Chain,
    /// Where a frame of the guest is put together.
    outgoing: Box<[u8]>,
    /// A frame for the guest: the one in hand, or what is left of one before.
    incoming: Box<[u8]>,
    /// Length of the frame in hand, where there is one.
    in_hand: Option<usize>,
    gathered: Gathered,
    faults: Faults,
}

impl Net {
    /// An interface with `link` behind it.
    #[must_use]
    pub fn new(config: NetConfig, link: Box<dyn Link>) -> Self {
        let room = usize::from(config.mtu) + FRAME_OVERHEAD_BYTES;
        Self {
            config: config_space(&config),
            link,
            headers: Headers::agreed(0),
            chain: Chain::default(),
            outgoing: vec![0; room].into_boxed_slice(),
            incoming: vec![0; room].into_boxed_slice(),
            in_hand: None,
            gathered: Gathered::default(),
            faults: Faults::new("net"),
        }
    }
}

/// What the guest reads about the interface. Status and queue pairs are of features not offered.
fn config_space(config: &NetConfig) -> [u8; CONFIG_BYTES] {
    let [a, b, c, d, e, f] = config.mac;
    let [low, high] = config.mtu.to_le_bytes();
    [a, b, c, d, e, f, 0, 0, 0, 0, low, high]
}

impl VirtioDevice for Net {
    fn device_type(&self) -> u32 {
        VIRTIO_ID_NET
    }

    fn queue_max_sizes(&self) -> &[u16] {
        &QUEUE_SIZES
    }

    /// Checksums are left out on both ways: each is a pass over every byte, and for a link that is
    /// memory they prove nothing. Offering `VIRTIO_NET_F_CSUM` is also what lets Linux send a frame
    /// in pieces instead of copying it together first.
    fn features(&self) -> u64 {
        RING_FEATURES
            | 1 << VIRTIO_F_VERSION_1
            | 1 << VIRTIO_NET_F_MAC
            | 1 << VIRTIO_NET_F_MTU
            | 1 << VIRTIO_NET_F_MRG_RXBUF
            | 1 << VIRTIO_NET_F_CSUM
            | 1 << VIRTIO_NET_F_GUEST_CSUM
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

    /// Nothing is writable: the address would be by a feature that is not offered.
    fn write_config(&mut self, _offset: u64, _data: &[u8]) {}

    fn activate(&mut self, acked: u64) {
        self.headers = Headers::agreed(acked);
        self.link.agree(Checksums {
            whole_from_guest: acked & 1 << VIRTIO_NET_F_CSUM == 0,
            checked_by_guest: acked & 1 << VIRTIO_NET_F_GUEST_CSUM == 0,
        });
    }

    fn host_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.link.host_fd())
    }

    fn handle(&mut self, event: Event, queues: &mut Queues<'_>) -> Result<Progress, DeviceError> {
        let drained = match event {
            Event::Queue(TRANSMIT_QUEUE) => self.drain_transmit_queue(queues)?,
            Event::Queue(_) => Progress::Idle,
            Event::Host => {
                self.link.poll().map_err(|source| DeviceError::Host {
                    operation: "serve the guest's network",
                    source,
                })?;
                Progress::Idle
            }
        };
        // Whatever happened, the link may have an answer to it.
        let filled = self.fill_receive_queue(queues)?;
        Ok(drained.and(filled))
    }

    fn reset(&mut self) {
        self.in_hand = None;
        self.link.reset();
    }
}

impl fmt::Debug for Net {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Net")
            .field("config", &self.config)
            .field("faults", &self.faults)
            .finish_non_exhaustive()
    }
}
