//! One packet in and one packet out: the device that smoltcp's interface is polled with.
//!
//! smoltcp looks at every socket of a set on every poll. We keep one interface for all and a set
//! of one socket for each connection, so that a packet costs the same however many there are. A
//! packet is read where the guest's frame lies and written where the guest will read it.

use std::hash::{BuildHasher, Hasher, RandomState};

use smoltcp::iface::{Config, Interface};
use smoltcp::phy::{
    Checksum, ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken,
};
use smoltcp::time::Instant;
use smoltcp::wire::HardwareAddress;

use super::connection::Connection;
use crate::config::Checksums;
use crate::core::Core;
use crate::ethernet::Station;

/// Room for what smoltcp answers at once: a header with every option.
const REPLY_BYTES: usize = 128;

/// smoltcp, for one packet of one connection at a time.
pub(super) struct Engine {
    interface: Interface,
    shape: WireShape,
}

impl Engine {
    pub(super) fn new(core: &Core) -> Self {
        let shape = WireShape {
            mtu: core.mtu,
            checksums: core.checksums,
        };
        let mut config = Config::new(HardwareAddress::Ip);
        // Randomly keyed hashes make sequence numbers that a guest cannot foresee.
        config.random_seed = RandomState::new().build_hasher().finish();
        let mut interface = Interface::new(config, &mut Wire::new(shape, None, &mut []), core.now);
        // Guests connect to any address there is; whether they may was decided before.
        interface.set_any_ip(true);
        Self { interface, shape }
    }

    /// Gives a packet of the guest to a connection, and its immediate answer to the outbox.
    pub(super) fn ingress(
        &mut self,
        core: &mut Core,
        station: Station,
        connection: &mut Connection,
        packet: &[u8],
    ) {
        let mut reply = [0; REPLY_BYTES];
        let mut wire = Wire::new(self.shape, Some(packet), &mut reply);
        self.interface
            .poll_ingress_single(core.now, &mut wire, connection.endpoint.set());
        if let Some(length) = wire.written {
            core.send_packet(station, &reply[..length]);
        }
    }

    /// Writes the next packet of a connection into `room`; its length, if there is one.
    pub(super) fn egress(
        &mut self,
        core: &Core,
        connection: &mut Connection,
        room: &mut [u8],
    ) -> Option<usize> {
        let mut wire = Wire::new(self.shape, None, room);
        self.interface
            .poll_egress(core.now, &mut wire, connection.endpoint.set());
        wire.written
    }

    /// When a connection wants to be looked at again, though nothing happens.
    pub(super) fn wake_at(&mut self, core: &Core, connection: &mut Connection) -> Option<Instant> {
        self.interface.poll_at(core.now, connection.endpoint.set())
    }
}

/// What the interface knows of its device, for as long as it lives.
#[derive(Debug, Clone, Copy)]
struct WireShape {
    mtu: usize,
    checksums: Checksums,
}

/// At most one packet to read, and room for one to write.
struct Wire<'a> {
    shape: WireShape,
    inbound: Option<&'a [u8]>,
    room: &'a mut [u8],
    /// Length of the packet that was written.
    written: Option<usize>,
}

impl<'a> Wire<'a> {
    fn new(shape: WireShape, inbound: Option<&'a [u8]>, room: &'a mut [u8]) -> Self {
        Self {
            shape,
            inbound,
            room,
            written: None,
        }
    }
}

struct Inbound<'a>(&'a [u8]);

impl RxToken for Inbound<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(self.0)
    }
}

struct Outbound<'a> {
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
