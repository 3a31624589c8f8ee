//! The stack as its owner sees it: frames in, readiness in, frames out.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::process::{Resource, getrlimit, setrlimit};
use smoltcp::wire::IpProtocol;

use crate::command::NetworkCommand;
use crate::config::{Checksums, NetstackConfig};
use crate::control::NetstackControl;
use crate::core::Core;
use crate::dns::{Asker, Resolver};
use crate::epoll::{Readiness, Token};
use crate::ethernet::{Frame, Station, ether_type};
use crate::icmp;
use crate::ip::Datagram;
use crate::limits::SWEEP_INTERVAL;
use crate::neighbor;
use crate::network::{Networks, Route};
use crate::ping::Pings;
use crate::tcp::Tcp;
use crate::timers;
use crate::udp::{Message, Udp};

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
    udp: Udp,
    pings: Pings,
    resolver: Resolver,
    /// A sweep is scheduled.
    sweeping: bool,
    /// Datagrams are next, not segments.
    datagrams_first: bool,
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
        raise_descriptor_limit();
        let core = Core::new(config.mtu, config.checksums)?;
        let control = NetstackControl::new()?;
        core.epoll.add_source(core.timers.as_fd(), Token::Timer)?;
        core.epoll
            .add_source(control.descriptor(), Token::Control)?;
        let stack = Self {
            tcp: Tcp::new(&core, config.max_tcp_flows),
            udp: Udp::new(config.max_udp_flows),
            pings: Pings::new(),
            resolver: Resolver::new(&config),
            networks: Networks::default(),
            control: control.clone(),
            core,
            config,
            sweeping: false,
            datagrams_first: false,
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
                self.receive_datagram(frame.sender, Datagram::parse_v4(frame.payload));
            }
            ether_type::IPV6 => {
                self.receive_datagram(frame.sender, Datagram::parse_v6(frame.payload));
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
            IpProtocol::Tcp => {
                let (core, networks) = (&mut self.core, &self.networks);
                self.tcp
                    .receive(core, networks, &mut self.resolver, sender, datagram);
            }
            IpProtocol::Udp => self.receive_udp(sender, &datagram),
            IpProtocol::Icmp | IpProtocol::Icmpv6 => self.receive_icmp(sender, &datagram),
            _ => self.core.counters.packets_dropped += 1,
        }
    }

    fn receive_udp(&mut self, sender: Station, datagram: &Datagram<'_>) {
        let Some(message) = Message::parse(sender, datagram, self.core.checksums.verify) else {
            self.core.counters.packets_malformed += 1;
            return;
        };
        let (vlan, remote) = (sender.vlan, message.remote);
        if self.networks.route(vlan, remote.ip(), remote.port()) == Route::Dns {
            let (guest, gateway) = (message.guest, remote);
            let asker = Asker::Datagram {
                station: sender,
                guest,
                gateway,
            };
            self.resolver
                .ask(&mut self.core, &self.networks, asker, message.payload);
        } else {
            self.udp.receive(&mut self.core, &self.networks, &message);
        }
    }

    fn receive_icmp(&mut self, sender: Station, datagram: &Datagram<'_>) {
        let Some(network) = self.networks.get(sender.vlan) else {
            return;
        };
        if neighbor::is_solicitation(datagram) {
            if let Some(packet) = neighbor::answer_solicitation(network, sender, datagram) {
                self.core.send_packet(sender, &packet);
            }
            return;
        }
        let is_echo = icmp::is_echo_request(datagram, self.core.checksums.verify);
        if is_echo && network.is_gateway(datagram.destination) {
            let packet = icmp::answer_echo(datagram);
            self.core.send_packet(sender, &packet);
            return;
        }
        let route = self.networks.route(sender.vlan, datagram.destination, 0);
        let sent = is_echo
            && route == Route::Beyond
            && self.pings.receive(&mut self.core, sender, datagram);
        self.core.counters.packets_dropped += u64::from(!sent);
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
            match token {
                Token::Tcp(ticket) => self.tcp.expired(ticket),
                _ => self.sweep(),
            }
        }
        self.schedule_sweep();
        self.core.timers.arm(self.core.now)
    }

    fn ready(&mut self, token: Token, readiness: Readiness) {
        let (core, networks) = (&mut self.core, &self.networks);
        match token {
            Token::Control => self.obey(),
            Token::Timer => core.timers.acknowledge(),
            Token::Tcp(ticket) => self.tcp.ready(core, networks, ticket, readiness),
            Token::Udp(ticket) => self.udp.ready(ticket, readiness),
            Token::Ping(ticket) => self.pings.ready(ticket, readiness),
            Token::Dns(ticket) => self.resolver.ready(core, networks, ticket, readiness),
            Token::DnsStream(ticket) => {
                self.resolver
                    .stream_ready(core, networks, ticket, readiness);
            }
            // Only ever a timer.
            Token::Sweep => {}
        }
    }

    fn sweep(&mut self) {
        self.sweeping = false;
        self.udp.sweep(&self.core);
        self.pings.sweep(&self.core);
        self.resolver.sweep(&mut self.core, &self.networks);
    }

    /// While something could time out, time is looked at; an idle stack sleeps.
    fn schedule_sweep(&mut self) {
        let idle = self.udp.is_empty() && self.pings.is_empty() && self.resolver.is_empty();
        if !idle && !self.sweeping {
            self.sweeping = true;
            let next = self.core.now + timers::duration(SWEEP_INTERVAL);
            self.core.timers.schedule(next, Token::Sweep);
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

    fn drop_flows(&mut self, vlan: u16, address: Option<IpAddr>) {
        self.tcp.drop_flows(&mut self.core, vlan, address);
        self.udp.drop_flows(vlan, address);
        self.pings.drop_flows(vlan, address);
    }

    /// Writes the next frame for the guest into `buffer`, which has room for the MTU and 18
    /// bytes; its length, or `None` when there is none now.
    pub fn transmit(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let length = self.next_frame(buffer);
        match length {
            Some(length) => {
                self.core.counters.frames_transmitted += 1;
                self.core.counters.bytes_transmitted += length as u64;
            }
            None => self.pause(),
        }
        length
    }

    /// What is ready first; then datagrams and segments in turn, so that neither starves.
    fn next_frame(&mut self, buffer: &mut [u8]) -> Option<usize> {
        if let Some(length) = self.core.outbox.pop(buffer) {
            return Some(length);
        }
        self.datagrams_first = !self.datagrams_first;
        if self.datagrams_first {
            self.next_datagram(buffer)
                .or_else(|| self.tcp.transmit(&mut self.core, buffer))
        } else {
            let segment = self.tcp.transmit(&mut self.core, buffer);
            segment.or_else(|| self.next_datagram(buffer))
        }
        // Reading a datagram may have brought the news that one did not arrive.
        .or_else(|| self.core.outbox.pop(buffer))
    }

    fn next_datagram(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let datagram = self.udp.transmit(&mut self.core, &self.networks, buffer);
        datagram.or_else(|| self.pings.transmit(&mut self.core, buffer))
    }

    /// The end of a batch: the kernel is told of new deadlines, and others of the counters.
    fn pause(&mut self) {
        self.schedule_sweep();
        if let Err(error) = self.core.timers.arm(self.core.now) {
            tracing::warn!(%error, "cannot arm the timer of the network");
        }
        self.core.counters.outbox_overflows = self.core.outbox.overflows();
        self.control.publish(self.core.counters);
    }

    /// The guest's driver left: every flow is forgotten, the networks stay.
    pub fn reset(&mut self) {
        self.tcp.reset(&mut self.core);
        self.udp.reset();
        self.pings.reset();
        self.resolver.reset();
        self.core.outbox.clear();
        self.core.timers.clear();
        self.sweeping = false;
    }
}

/// Lets this process have as many descriptors as it may: every flow is one, and the usual soft
/// limit of 1,024 is there for programs that `select`.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum || limit.maximum.is_none() {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::debug!(%error, "the number of flows is bound by the soft descriptor limit");
        }
    }
}
