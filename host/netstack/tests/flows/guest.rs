//! A container's end of the link: smoltcp's TCP, and packets by hand for everything else.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr, IpRepr};

/// Bytes of an Ethernet header with an 802.1Q tag.
pub(crate) const HEADER_BYTES: usize = 18;

const MTU: usize = 65_520;
const BUFFER_BYTES: usize = 1024 * 1024;

pub(crate) struct Guest {
    pub(crate) vlan: u16,
    pub(crate) mac: [u8; 6],
    pub(crate) ipv4: IpAddr,
    pub(crate) ipv6: IpAddr,
    pub(crate) sockets: SocketSet<'static>,
    /// Packets other than TCP that came for this guest.
    pub(crate) packets: VecDeque<Vec<u8>>,
    /// Frames other than IP that came for this guest.
    pub(crate) frames: VecDeque<Vec<u8>>,
    interface: Interface,
    wire: Wire,
    next_port: u16,
}

#[derive(Default)]
struct Wire {
    inbound: VecDeque<Vec<u8>>,
    outbound: VecDeque<Vec<u8>>,
}

struct Inbound(Vec<u8>);

impl RxToken for Inbound {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

struct Outbound<'a>(&'a mut VecDeque<Vec<u8>>);

impl TxToken for Outbound<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        let mut packet = vec![0; length];
        let result = write(&mut packet);
        self.0.push_back(packet);
        result
    }
}

impl Device for Wire {
    type RxToken<'a> = Inbound;
    type TxToken<'a> = Outbound<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Inbound, Outbound<'_>)> {
        let packet = self.inbound.pop_front()?;
        Some((Inbound(packet), Outbound(&mut self.outbound)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Outbound<'_>> {
        Some(Outbound(&mut self.outbound))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = MTU;
        capabilities
    }
}

impl Guest {
    /// The guest with this number in the network of `vlan`: `10.<vlan>.0.<number>` and
    /// `fd00:<vlan>::<number>`.
    pub(crate) fn new(vlan: u16, number: u8) -> Self {
        let ipv4 = format!("10.{vlan}.0.{number}").parse::<IpAddr>().unwrap();
        let ipv6 = format!("fd00:{vlan}::{number:x}")
            .parse::<IpAddr>()
            .unwrap();
        let mut wire = Wire::default();
        let mut interface =
            Interface::new(Config::new(HardwareAddress::Ip), &mut wire, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            addresses
                .push(IpCidr::new(IpAddress::from(ipv4), 16))
                .unwrap();
            addresses
                .push(IpCidr::new(IpAddress::from(ipv6), 64))
                .unwrap();
        });
        Self {
            vlan,
            mac: [2, 0x42, 10, 0, vlan.to_be_bytes()[1], number],
            ipv4,
            ipv6,
            sockets: SocketSet::new(Vec::new()),
            packets: VecDeque::new(),
            frames: VecDeque::new(),
            interface,
            wire,
            next_port: 40_000,
        }
    }

    /// Begins a TCP connection.
    pub(crate) fn connect(&mut self, remote: SocketAddr) -> SocketHandle {
        self.connect_with_buffers(remote, BUFFER_BYTES)
    }

    pub(crate) fn connect_with_buffers(
        &mut self,
        remote: SocketAddr,
        buffer_bytes: usize,
    ) -> SocketHandle {
        let buffer = || SocketBuffer::new(vec![0; buffer_bytes]);
        let mut socket = Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(false);
        socket.set_ack_delay(None);
        let address = if remote.is_ipv4() {
            self.ipv4
        } else {
            self.ipv6
        };
        self.next_port += 1;
        let local = SocketAddr::new(address, self.next_port);
        socket
            .connect(self.interface.context(), remote, local)
            .unwrap();
        self.sockets.add(socket)
    }

    pub(crate) fn tcp(&mut self, handle: SocketHandle) -> &mut Socket<'static> {
        self.sockets.get_mut(handle)
    }

    /// Lets the guest's TCP work; the frames it sends.
    pub(crate) fn poll(&mut self, now: Instant) -> Vec<Vec<u8>> {
        self.interface.poll(now, &mut self.wire, &mut self.sockets);
        let packets: Vec<_> = self.wire.outbound.drain(..).collect();
        packets.iter().map(|packet| self.frame(packet)).collect()
    }

    /// The frame that carries an IP packet to the gateway.
    pub(crate) fn frame(&self, packet: &[u8]) -> Vec<u8> {
        let ether_type = if packet[0] >> 4 == 6 { 0x86dd } else { 0x0800 };
        self.frame_of(gateway_mac(self.vlan), ether_type, packet)
    }

    pub(crate) fn frame_of(&self, to: [u8; 6], ether_type: u16, payload: &[u8]) -> Vec<u8> {
        let mut frame = [to, self.mac].concat();
        frame.extend_from_slice(&0x8100_u16.to_be_bytes());
        frame.extend_from_slice(&self.vlan.to_be_bytes());
        frame.extend_from_slice(&ether_type.to_be_bytes());
        frame.extend_from_slice(payload);
        frame
    }

    /// Takes a frame if it is for this guest.
    pub(crate) fn take(&mut self, frame: &[u8]) -> bool {
        let vlan = u16::from_be_bytes([frame[14], frame[15]]);
        if vlan != self.vlan || (frame[..6] != self.mac && frame[0] & 1 == 0) {
            return false;
        }
        let packet = &frame[HEADER_BYTES..];
        let is_ip = frame[16..18] == [0x08, 0x00] || frame[16..18] == [0x86, 0xdd];
        match (is_ip, protocol_of(packet)) {
            (true, 6) => self.wire.inbound.push_back(packet.to_vec()),
            (true, _) => self.packets.push_back(packet.to_vec()),
            (false, _) => self.frames.push_back(frame.to_vec()),
        }
        true
    }

    /// An IP packet of this guest.
    pub(crate) fn packet(&self, to: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let from = if to.is_ipv4() { self.ipv4 } else { self.ipv6 };
        let repr = IpRepr::new(from.into(), to.into(), protocol.into(), payload.len(), 64);
        let mut packet = vec![0; repr.buffer_len()];
        repr.emit(
            &mut packet[..],
            &smoltcp::phy::ChecksumCapabilities::default(),
        );
        packet[repr.header_len()..].copy_from_slice(payload);
        packet
    }
}

/// The gateway's address on one VLAN; a test asks for it by ARP too.
pub(crate) fn gateway_mac(vlan: u16) -> [u8; 6] {
    let [high, low] = vlan.to_be_bytes();
    [0x02, 0xd4, 0x0e, 0x00, high, low]
}

fn protocol_of(packet: &[u8]) -> u8 {
    if packet[0] >> 4 == 6 {
        packet[6]
    } else {
        packet[9]
    }
}
