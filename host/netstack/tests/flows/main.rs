//! The stack against guests made of smoltcp and servers made of the host's own sockets.
//!
//! - [`bench`] – one stack, its guests, and the loop that an owner would run
//! - [`guest`] – a container's end of the link

mod bench;
mod guest;
mod neighbors;
mod tcp;
