//! The hidden faces of the one binary: processes that dhow starts for itself.

pub(crate) mod devices;
mod owner;
pub(crate) mod vmm;
