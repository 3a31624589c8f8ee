//! The stack against guests made of smoltcp and servers made of the host's own sockets.
//!
//! - [`bench`] – one stack, its guests, and the loop that an owner would run
//! - [`guest`] – a container's end of the link
//! - [`packets`] – UDP, ICMP and DNS by hand
#![expect(clippy::unwrap_used, reason = "a test stops at what fails")]

mod bench;
mod dns;
mod echo;
mod guest;
mod hostile;
mod isolation;
mod neighbors;
mod packets;
mod tcp;
mod udp;
