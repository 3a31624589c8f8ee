//! The user-mode network behind the guest's NIC: Ethernet frames on one side, ordinary sockets of
//! an ordinary user on the other.
//!
//! Every container network is a VLAN on the one NIC. For each, [`Netstack`] is the gateway: it
//! answers ARP and neighbour discovery, echoes, and DNS, and carries each flow of a guest over a
//! socket of the host. TCP towards the guest is smoltcp's; a SYN is answered only after the
//! host's own connect succeeded. Nothing is ever forwarded between two networks.
//!
//! The owner calls from one thread and nothing here blocks: [`Netstack::receive`] takes a frame,
//! [`Netstack::poll`] does what sockets and timers made possible, [`Netstack::transmit`] hands out
//! the next frame. Frames are made when asked for, so a guest that reads slowly slows the host's
//! sockets down instead of filling memory. Rule: whatever a guest can drive has a named bound in
//! [`limits`], and what it does wrong is dropped and counted in [`Counters`].
//!
//! - [`command`], [`control`] – what the engine says: networks, names, flows to end
//! - `ethernet`, `ip`, `neighbor`, `icmp`, `ping` – frames and packets
//! - `tcp`, `udp`, `dns` – the flows
//! - `dial`, `epoll`, `timers`, `table`, `outbox` – what the flows stand on

pub mod command;
pub mod config;
pub mod control;
mod core;
pub mod counters;
mod dial;
mod dns;
mod epoll;
mod ethernet;
mod icmp;
mod ip;
pub mod limits;
mod neighbor;
mod netstack;
mod network;
mod outbox;
mod ping;
mod table;
mod tcp;
mod timers;
mod udp;

pub use command::{NetworkCommand, Subnet};
pub use config::{Checksums, NetstackConfig};
pub use control::NetstackControl;
pub use counters::Counters;
pub use netstack::Netstack;
