//! One stack with its guests, and the loop that its owner runs.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use dhow_netstack::{Netstack, NetstackConfig, NetstackControl, NetworkCommand, Subnet};
use rustix::event::{PollFd, PollFlags, Timespec};
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::Socket;

use crate::guest::Guest;

/// Longest frame: MTU and header.
const FRAME_BYTES: usize = 65_520 + 18;

/// When a test gives up waiting.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long the loop sleeps at most when there is nothing to do: the guests' own timers.
const NAP: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 2_000_000,
};

pub(crate) struct Bench {
    pub(crate) stack: Netstack,
    pub(crate) control: NetstackControl,
    pub(crate) guests: Vec<Guest>,
    started: Instant,
    buffer: Vec<u8>,
}

impl Bench {
    /// A stack with the networks of VLAN 2 and 3, and one guest in the first.
    pub(crate) fn new() -> Self {
        Self::with_config(NetstackConfig::default())
    }

    pub(crate) fn with_config(config: NetstackConfig) -> Self {
        let (stack, control) = Netstack::new(config).unwrap();
        control.apply(network(2, false));
        control.apply(network(3, false));
        let mut bench = Self {
            stack,
            control,
            guests: vec![Guest::new(2, 2)],
            started: Instant::now(),
            buffer: vec![0; FRAME_BYTES],
        };
        bench.stack.poll().unwrap();
        bench
    }

    pub(crate) fn guest(&mut self) -> &mut Guest {
        &mut self.guests[0]
    }

    pub(crate) fn tcp(&mut self, handle: SocketHandle) -> &mut Socket<'static> {
        self.guest().tcp(handle)
    }

    /// One round: guests to stack, host to stack, stack to guests. Whether anything moved.
    pub(crate) fn round(&mut self) -> bool {
        let elapsed = i64::try_from(self.started.elapsed().as_micros()).unwrap();
        let now = smoltcp::time::Instant::from_micros(elapsed);
        let mut moved = false;
        for guest in &mut self.guests {
            for frame in guest.poll(now) {
                moved = true;
                self.stack.receive(&frame);
            }
        }
        self.stack.poll().unwrap();
        while let Some(length) = self.stack.transmit(&mut self.buffer) {
            moved = true;
            let frame = &self.buffer[..length];
            let taken = self
                .guests
                .iter_mut()
                .filter_map(|guest| guest.take(frame).then_some(()));
            assert!(taken.count() > 0, "a frame went to nobody: {frame:02x?}");
        }
        moved
    }

    /// Runs until `done` says so.
    pub(crate) fn run_until(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < deadline, "still not so: {:?}", self.stack);
            if !self.round() {
                self.nap();
            }
        }
    }

    /// Runs until nothing has moved for a while: for tests that nothing comes.
    pub(crate) fn run_until_quiet(&mut self) {
        let mut quiet = 0;
        while quiet < 50 {
            quiet = if self.round() { 0 } else { quiet + 1 };
            self.nap();
        }
    }

    fn nap(&self) {
        let descriptor = self.stack.host_fd();
        let mut descriptors = [PollFd::from_borrowed_fd(descriptor.as_fd(), PollFlags::IN)];
        rustix::event::poll(&mut descriptors, Some(&NAP)).unwrap();
    }

    /// Sends a packet made by hand.
    pub(crate) fn send(&mut self, packet: &[u8]) {
        let frame = self.guest().frame(packet);
        self.stack.receive(&frame);
    }
}

/// The network of a VLAN: gateway `10.<vlan>.0.1` and `fd00:<vlan>::1`.
pub(crate) fn network(vlan: u16, internal: bool) -> NetworkCommand {
    let subnet = |gateway: IpAddr, prefix_length| {
        Some(Subnet {
            gateway,
            prefix_length,
        })
    };
    NetworkCommand::Set {
        vlan,
        ipv4: subnet(gateway_v4(vlan), 16),
        ipv6: subnet(gateway_v6(vlan), 64),
        internal,
    }
}

pub(crate) fn gateway_v4(vlan: u16) -> IpAddr {
    format!("10.{vlan}.0.1").parse().unwrap()
}

pub(crate) fn gateway_v6(vlan: u16) -> IpAddr {
    format!("fd00:{vlan}::1").parse().unwrap()
}

/// The gateway of VLAN 2 on this port: the host's loopback.
pub(crate) fn host(port: u16) -> SocketAddr {
    SocketAddr::new(gateway_v4(2), port)
}
