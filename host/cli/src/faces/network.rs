//! The machine's NIC: the virtio device on one side, the user-mode network on the other, which know
//! nothing of each other.

use std::io;
use std::os::fd::BorrowedFd;

use anyhow::Context;
use dhow_machine::spec;
use dhow_netstack::{NetstackConfig, NetstackControl};
use dhow_virtio::net::{Checksums, Link};
use dhow_virtio::{Net, NetConfig};

/// The guest's address on its NIC: locally administered, then `dhow` in ASCII. No two machines ever
/// share a link.
const GUEST_MAC: [u8; 6] = [0x02, b'd', b'h', b'o', b'w', 0x01];

/// Makes the NIC, and the handle through which networks are set up behind it.
pub(super) fn device() -> anyhow::Result<(Net, NetstackControl)> {
    let config = NetstackConfig::default();
    let nic = NetConfig {
        mac: GUEST_MAC,
        mtu: config.mtu,
    };
    let (stack, control) =
        dhow_netstack::Netstack::new(config).context("failed to make the network")?;
    Ok((Net::new(nic, Box::new(Netstack(stack))), control))
}

/// The stack as a NIC's link.
struct Netstack(dhow_netstack::Netstack);

impl Link for Netstack {
    fn host_fd(&self) -> BorrowedFd<'_> {
        self.0.host_fd()
    }

    fn agree(&mut self, checksums: Checksums) {
        self.0.set_checksums(dhow_netstack::Checksums {
            verify: checksums.whole_from_guest,
            fill: checksums.checked_by_guest,
        });
    }

    fn receive(&mut self, frame: &[u8]) {
        self.0.receive(frame);
    }

    fn poll(&mut self) -> io::Result<()> {
        self.0.poll()
    }

    fn transmit(&mut self, buffer: &mut [u8]) -> Option<usize> {
        self.0.transmit(buffer)
    }

    fn reset(&mut self) {
        self.0.reset();
    }
}

/// A command of the machine's user in the stack's own words.
pub(super) fn translate(command: spec::NetworkCommand) -> dhow_netstack::NetworkCommand {
    use dhow_netstack::NetworkCommand as Stack;
    use spec::NetworkCommand as User;
    let subnet = |subnet: spec::Subnet| dhow_netstack::Subnet {
        gateway: subnet.gateway,
        prefix_length: subnet.prefix_length,
    };
    match command {
        User::Set {
            vlan,
            ipv4,
            ipv6,
            internal,
        } => Stack::Set {
            vlan,
            ipv4: ipv4.map(subnet),
            ipv6: ipv6.map(subnet),
            internal,
        },
        User::Remove { vlan } => Stack::Remove { vlan },
        User::Names { vlan, names } => Stack::Names { vlan, names },
        User::DropFlows { vlan, address } => Stack::DropFlows { vlan, address },
    }
}
