//! One packet in and one packet out: the device that smoltcp's interface is polled with.
//!
//! smoltcp looks at every socket of a set on every poll. We keep one interface for all and a set
//! of one socket for each connection, so that a packet costs the same however many there are. A
//! packet is read where the guest's frame lies and written where the guest will read it.

use smoltcp::phy::{
    Checksum, ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken,
};
use smoltcp::time::Instant;

use crate::config::Checksums;

/// What the interface knows of its device, for as long as it lives.
#[derive(Debug, Clone, Copy)]
pub(super) struct WireShape {
    pub(super) mtu: usize,
    pub(super) checksums: Checksums,
}

/// At most one packet to read, and room for one to write.
pub(super) struct Wire<'a> {
    pub(super) shape: WireShape,
    pub(super) inbound: Option<&'a [u8]>,
    pub(super) room: &'a mut [u8],
    /// Length of the packet that was written.
    pub(super) written: Option<usize>,
}

impl<'a> Wire<'a> {
    pub(super) fn new(shape: WireShape, inbound: Option<&'a [u8]>, room: &'a mut [u8]) -> Self {
        Self {
            shape,
            inbound,
            room,
            written: None,
        }
    }
}

pub(super) struct Inbound<'a>(&'a [u8]);

impl RxToken for Inbound<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(self.0)
    }
}

pub(super) struct Outbound<'a> {
    room: &'a mut [u8],
    written: &'a mut Option<usize>,
}

impl TxToken for Outbound<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        match self.room.get_mut(..length) {
            Some(room) => {
                *self.written = Some(length);
                write(room)
            }
            // The guest offered less than the MTU: the packet is lost, and sent again later.
            None => write(&mut vec![0; length]),
        }
    }
}

impl Device for Wire<'_> {
    type RxToken<'b>
        = Inbound<'b>
    where
        Self: 'b;
    type TxToken<'b>
        = Outbound<'b>
    where
        Self: 'b;

    fn receive(&mut self, _: Instant) -> Option<(Inbound<'_>, Outbound<'_>)> {
        let inbound = Inbound(self.inbound.take()?);
        Some((
            inbound,
            Outbound {
                room: self.room,
                written: &mut self.written,
            },
        ))
    }

    fn transmit(&mut self, _: Instant) -> Option<Outbound<'_>> {
        if self.written.is_some() {
            return None;
        }
        Some(Outbound {
            room: self.room,
            written: &mut self.written,
        })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.shape.mtu;
        capabilities.checksum = ChecksumCapabilities::default();
        capabilities.checksum.tcp = match self.shape.checksums {
            Checksums {
                verify: true,
                fill: true,
            } => Checksum::Both,
            Checksums {
                verify: true,
                fill: false,
            } => Checksum::Rx,
            Checksums {
                verify: false,
                fill: true,
            } => Checksum::Tx,
            Checksums {
                verify: false,
                fill: false,
            } => Checksum::None,
        };
        capabilities
    }
}
