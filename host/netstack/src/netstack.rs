//! The stack as its owner sees it: frames in, readiness in, frames out.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use smoltcp::wire::IpProtocol;

use crate::command::NetworkCommand;
use crate::config::{Checksums, NetstackConfig};
use crate::control::NetstackControl;
use crate::core::Core;
use crate::epoll::{Readiness, Token};
use crate::ethernet::{Frame, Station, ether_type};
use crate::icmp;
use crate::ip::Datagram;
use crate::neighbor;
use crate::network::Networks;
use crate::tcp::Tcp;

/// The gateway of every network of one machine.
///
/// All methods are called from one thread and none blocks. After each batch of
/// [`Netstack::receive`] and after each [`Netstack::poll`] the owner calls [`Netstack::transmit`]
/// until it has no more frames or no more room.
pub struct Netstack {
    core: Core,
    config: NetstackConfig,
    control: NetstackControl,
    networks: Networks,
    tcp: Tcp,
}

impl std::fmt::Debug for Netstack {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Netstack")
            .field("counters", &self.core.counters)
            .finish()
    }
}

impl Netstack {
    /// A stack without networks, and the handle that gives it some.
    ///
    /// # Errors
    ///
    /// When the host refuses an epoll, timer or event descriptor.
    pub fn new(config: NetstackConfig) -> io::Result<(Self, NetstackControl)> {
        let core = Core::new(config.mtu, config.checksums)?;
        let control = NetstackControl::new()?;
        core.epoll.add_source(core.timers.as_fd(), Token::Timer)?;
        core.epoll
            .add_source(control.descriptor(), Token::Control)?;
        let tcp = Tcp::new(&core, config.max_tcp_flows);
        let networks = Networks::default();
        let stack = Self {
            core,
            config,
            control: control.clone(),
            networks,
            tcp,
        };
        Ok((stack, control))
    }

    /// Who computes checksums from now on, as the guest's driver agreed. Ends every flow.
    pub fn set_checksums(&mut self, checksums: Checksums) {
        self.core.checksums = checksums;
        self.reset();
        self.tcp = Tcp::new(&self.core, self.config.max_tcp_flows);
    }

    /// Readable for as long as [`Netstack::poll`] has work: sockets, timers, commands.
    #[must_use]
    pub fn host_fd(&self) -> BorrowedFd<'_> {
        self.core.epoll.as_fd()
    }

    /// A frame from the guest: Ethernet, with its 802.1Q tag. Whatever it holds is safe to give.
    pub fn receive(&mut self, frame: &[u8]) {
        self.core.now = self.core.timers.now();
        self.core.counters.frames_received += 1;
        self.core.counters.bytes_received += frame.len() as u64;
        let frame = Frame::parse(frame).filter(|frame| self.is_known(frame.sender.vlan));
        let Some(frame) = frame else {
            self.core.counters.frames_malformed += 1;
            return;
        };
        match frame.ether_type {
            ether_type::ARP => self.receive_arp(&frame),
            ether_type::IPV4 => {
                self.receive_datagram(frame.sender, Datagram::parse_v4(frame.payload))
            }
            ether_type::IPV6 => {
                self.receive_datagram(frame.sender, Datagram::parse_v6(frame.payload))
            }
            _ => self.core.counters.packets_dropped += 1,
        }
    }

    fn is_known(&self, vlan: u16) -> bool {
        self.networks.get(vlan).is_some()
    }

    fn receive_arp(&mut self, frame: &Frame<'_>) {
        let network = self.networks.get(frame.sender.vlan);
        if let Some(reply) =
            network.and_then(|network| neighbor::answer_arp(network, frame.sender, frame.payload))
        {
            self.core.outbox.push(reply);
        }
    }

    fn receive_datagram(&mut self, sender: Station, datagram: Option<Datagram<'_>>) {
        let Some(datagram) = datagram else {
            self.core.counters.packets_malformed += 1;
            return;
        };
        match datagram.protocol {
            IpProtocol::Tcp => self
                .tcp
                .receive(&mut self.core, &self.networks, sender, &datagram),
            IpProtocol::Icmp | IpProtocol::Icmpv6 => self.receive_icmp(sender, &datagram),
            _ => self.core.counters.packets_dropped += 1,
        }
    }

    fn receive_icmp(&mut self, sender: Station, datagram: &Datagram<'_>) {
        let Some(network) = self.networks.get(sender.vlan) else {
            return;
        };
        let answer = if neighbor::is_solicitation(datagram) && datagram.source.is_ipv6() {
            neighbor::answer_solicitation(network, sender, datagram)
        } else if network.is_gateway(datagram.destination)
            && icmp::is_echo_request(datagram, self.core.checksums.verify)
        {
            Some(icmp::answer_echo(datagram))
        } else {
            None
        };
        match answer {
            Some(packet) => self.core.send_packet(sender, &packet),
            None => self.core.counters.packets_dropped += 1,
        }
    }

    /// Does what host sockets, timers and commands made possible.
    ///
    /// # Errors
    ///
    /// When the host's epoll or timer fails; the stack is of no use then.
    pub fn poll(&mut self) -> io::Result<()> {
        self.core.now = self.core.timers.now();
        for (token, readiness) in self.core.epoll.ready()? {
            self.ready(token, readiness);
        }
        while let Some(token) = self.core.timers.expired(self.core.now) {
            if let Token::Tcp(ticket) = token {
                self.tcp.expired(ticket);
            }
        }
        self.core.timers.arm(self.core.now)
    }

    fn ready(&mut self, token: Token, readiness: Readiness) {
        match token {
            Token::Control => self.obey(),
            Token::Timer => self.core.timers.acknowledge(),
            Token::Tcp(ticket) => {
                self.tcp
                    .ready(&mut self.core, &self.networks, ticket, readiness);
            }
            Token::Udp(_) | Token::Ping(_) | Token::Dns(_) => {}
        }
    }

    fn obey(&mut self) {
        for command in self.control.take() {
            match command {
                NetworkCommand::Set {
                    vlan,
                    ipv4,
                    ipv6,
                    internal,
                } => {
                    if !self.networks.set(vlan, ipv4, ipv6, internal) {
                        tracing::warn!(vlan, "no network can have this VLAN");
                    }
                }
                NetworkCommand::Remove { vlan } => {
                    self.drop_flows(vlan, None);
                    self.networks.remove(vlan);
                }
                NetworkCommand::Names { vlan, names } => self.networks.set_names(vlan, names),
                NetworkCommand::DropFlows { vlan, address } => {
                    self.drop_flows(vlan, Some(address));
                }
            }
        }
    }

    fn drop_flows(&mut self, vlan: u16, address: Option<std::net::IpAddr>) {
        self.tcp.drop_flows(&mut self.core, vlan, address);
    }

    /// Writes the next frame for the guest into `buffer`, which has room for the MTU and 18
    /// bytes; its length, or `None` when there is none now.
    pub fn transmit(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let length = self
            .core
            .outbox
            .pop(buffer)
            .or_else(|| self.tcp.transmit(&mut self.core, buffer));
        match length {
            Some(length) => {
                self.core.counters.frames_transmitted += 1;
                self.core.counters.bytes_transmitted += length as u64;
            }
            None => self.pause(),
        }
        length
    }

    /// The end of a batch: the kernel is told of new deadlines, and others of the counters.
    fn pause(&mut self) {
        if let Err(error) = self.core.timers.arm(self.core.now) {
            tracing::warn!(%error, "cannot arm the timer of the network");
        }
        self.core.counters.outbox_overflows = self.core.outbox.overflows();
        self.control.publish(self.core.counters);
    }

    /// The guest's driver left: every flow is forgotten, the networks stay.
    pub fn reset(&mut self) {
        self.tcp.reset(&mut self.core);
        self.core.outbox.clear();
        self.core.timers.clear();
    }
}
