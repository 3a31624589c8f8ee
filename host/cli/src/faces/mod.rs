//! The hidden faces of the program: what it is when another dhow has started it.

pub(crate) mod daemon;
pub(crate) mod devices;
mod network;
mod owner;
pub(crate) mod vmm;
