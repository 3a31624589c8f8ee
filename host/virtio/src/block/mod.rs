//! Block devices: one request loop ([`Disk`]) over two kinds of storage ([`Backing`]).
//!
//! - [`LayerDisk`] – read-only, a sparse concatenation of image layers; [`LayerMap`] adds layers to
//!   it while the guest runs
//! - [`DataDisk`] – one sparse file, read and written, with flush and discard
//!
//! I/O is synchronous in the thread that drives the device: image layers and the data disk are
//! files in the host's page cache, where a read costs a copy. A guest waiting for a cold disk
//! delays the other devices of its own machine, and nobody else's.
//!
//! Rule: whatever a request asks for is checked in `request` and in [`Disk`] before it reaches the
//! backing, which may rely on a range inside its capacity.

mod backing;
mod data;
mod disk;
mod layers;
mod request;

pub use backing::{Backing, Limits};
pub use data::{DataDisk, OpenDiskError, SparseFile};
pub use disk::Disk;
pub use layers::{LAYER_ALIGNMENT_BYTES, LayerDisk, LayerMap, MapError};

#[cfg(test)]
mod tests;
