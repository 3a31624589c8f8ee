//! Virtio device models that know queues, guest memory and at most one host file descriptor.
//!
//! A device here knows nothing of KVM, epoll, MMIO, vhost or threads. A *driver* (`host/vmm` from
//! virtio-mmio exits, `host/vhost-user` from a vhost-user socket) owns the transport and calls
//! [`VirtioDevice::handle`]. Rule: nothing below this line may block, and every loop or allocation
//! that the guest drives has a named bound.
//!
//! - [`device`] – the trait, its events and the queues handed to it
//! - [`block`] – the read-only layer disk and the data disk
//! - [`net`] – frames between the guest's NIC and the network behind it
//! - [`rng`] – entropy
//! - [`vsock`] – streams between programs in the guest and unix sockets on the host
//!
//! Unsafe code is confined to `span` (vectored file I/O on guest memory) and `rng` (`getrandom`).

pub mod block;
pub mod device;
mod faults;
pub mod net;
mod ring;
pub mod rng;
mod span;
pub mod vsock;

#[cfg(test)]
mod mock_guest;
#[cfg(test)]
mod mock_ring;

pub use block::{DataDisk, LayerDisk, LayerMap};
pub use device::{DeviceError, Event, Interrupt, Progress, Queues, VirtioDevice};
pub use net::{Net, NetConfig};
pub use rng::Rng;
pub use span::GuestSpan;
pub use vsock::{Vsock, VsockConfig};
