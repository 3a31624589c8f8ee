//! dhow's virtio devices served over vhost-user sockets.
//!
//! [`Server`] drives any number of [`VirtioDevice`](dhow_virtio::VirtioDevice)s, each behind its own
//! unix socket, for a front-end that is either User Mode Linux (`virtio_uml.device=`) or QEMU
//! (`-chardev socket` with a `vhost-user-*` device). One thread and one epoll serve all of them:
//! a device process that holds four devices has one stack and one wake-up per event.
//!
//! - `wire`: messages on the socket, received without ever blocking
//! - `memory`: guest memory, mapped once however many devices share it
//! - `vring`: the descriptors and addresses of one virtqueue
//! - `session`: what one front-end has set up, and what each request does
//! - `poll`: epoll, and what each of its events means
//! - `server`: accepting, dispatching, hanging up
//!
//! The message layouts are the `vhost` crate's; its request handler is not used because it blocks
//! in the middle of a message, so that one stalled front-end would stop every device, because it
//! refuses the oversized SET_MEM_TABLE of User Mode Linux up to 6.12, and because it cannot decline
//! REPLY_ACK, which costs a round trip for each of some fifteen messages a device sends at boot.
//!
//! Rule: a front-end is not trusted. Whatever breaks the protocol ends its session and resets its
//! device; the other devices go on.

mod memory;
mod poll;
mod server;
mod session;
mod vring;
mod wire;

pub use server::{Exit, ServeError, Server};
