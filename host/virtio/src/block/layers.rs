//! The layer disk: every image layer of a machine behind one read-only block device.
//!
//! Its address space is a sparse concatenation. [`LayerMap`], kept by whoever starts containers,
//! puts a layer file at an offset; the guest maps that range with dm-linear. What no layer covers
//! reads as zeroes, the tail of a layer's last block among it. No hotplug is needed, so it works
//! the same under every engine.
//!
//! The map is copied on write: the device takes a reference for each read and holds the lock only
//! that long, so adding a layer never waits for I/O, nor I/O for the map.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::backing::{Backing, Limits};
use super::disk::Disk;
use super::request::SECTOR_BYTES;
use crate::span::GuestSpan;

/// Layers begin on this boundary: the block size of the EROFS files they are.
pub const LAYER_ALIGNMENT_BYTES: u64 = 4096;

/// The read-only disk of image layers.
pub type LayerDisk = Disk<LayerMap>;

impl LayerDisk {
    /// An empty disk of `capacity_bytes`, rounded down to whole sectors, and the map to fill it by.
    ///
    /// The capacity costs nothing; it should leave room for every layer the machine may ever see.
    #[must_use]
    pub fn new(capacity_bytes: u64) -> (Self, LayerMap) {
        let map = LayerMap {
            capacity_bytes: capacity_bytes - capacity_bytes % SECTOR_BYTES,
            layers: Arc::default(),
        };
        (Self::with_backing(map.clone()), map)
    }
}

/// One layer file and where it appears.
#[derive(Clone, Debug)]
struct Layer {
    offset: u64,
    length: u64,
    file: Arc<File>,
}

impl Layer {
    fn end(&self) -> u64 {
        self.offset + self.length
    }
}

/// Sorted by offset, never overlapping; replaced as a whole.
type Layers = Arc<Vec<Layer>>;

/// What lies where on a [`LayerDisk`]. Clones show and change the same map.
#[derive(Clone, Debug)]
pub struct LayerMap {
    capacity_bytes: u64,
    layers: Arc<Mutex<Layers>>,
}

/// Why a layer was not added.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// The offset is not a multiple of [`LAYER_ALIGNMENT_BYTES`].
    #[error("layer offset {offset} is not a multiple of {LAYER_ALIGNMENT_BYTES}")]
    Unaligned {
        /// The offset asked for.
        offset: u64,
    },
    /// A layer without content.
    #[error("layer at offset {offset} is empty")]
    Empty {
        /// The offset asked for.
        offset: u64,
    },
    /// The layer does not fit on the disk.
    #[error("layer of {length} bytes at offset {offset} ends beyond the disk's {capacity} bytes")]
    BeyondCapacity {
        /// The offset asked for.
        offset: u64,
        /// The layer's length.
        length: u64,
        /// The disk's size.
        capacity: u64,
    },
    /// Another layer is in the way.
    #[error("layer of {length} bytes at offset {offset} overlaps the one at {other}")]
    Overlap {
        /// The offset asked for.
        offset: u64,
        /// The layer's length.
        length: u64,
        /// Where the other begins.
        other: u64,
    },
    /// The file is shorter than the layer is said to be.
    #[error("layer file at offset {offset} has {actual} bytes, not {length}")]
    TooShort {
        /// The offset asked for.
        offset: u64,
        /// The layer's length.
        length: u64,
        /// The file's length.
        actual: u64,
    },
    /// The file could not be examined.
    #[error("failed to examine the layer file at offset {offset}")]
    Examine {
        /// The offset asked for.
        offset: u64,
        /// What the operating system answered.
        #[source]
        source: io::Error,
    },
}

impl LayerMap {
    /// Makes the first `length` bytes of `file` appear at `offset`; takes effect at once.
    ///
    /// # Errors
    /// [`MapError`]: the range is unaligned, empty, taken or beyond the disk, or the file too short.
    pub fn map(&self, offset: u64, file: File, length: u64) -> Result<(), MapError> {
        let metadata = file
            .metadata()
            .map_err(|source| MapError::Examine { offset, source })?;
        if !offset.is_multiple_of(LAYER_ALIGNMENT_BYTES) {
            return Err(MapError::Unaligned { offset });
        }
        if length == 0 {
            return Err(MapError::Empty { offset });
        }
        if metadata.len() < length {
            return Err(MapError::TooShort {
                offset,
                length,
                actual: metadata.len(),
            });
        }
        let capacity = self.capacity_bytes;
        if offset.checked_add(length).is_none_or(|end| end > capacity) {
            return Err(MapError::BeyondCapacity {
                offset,
                length,
                capacity,
            });
        }
        self.insert(Layer {
            offset,
            length,
            file: Arc::new(file),
        })
    }

    /// Takes the layer that begins at `offset` away; its range reads as zeroes again.
    ///
    /// Says whether there was one. The caller makes sure that the guest has let go of it.
    pub fn unmap(&self, offset: u64) -> bool {
        let mut layers = self.lock();
        let Ok(index) = layers.binary_search_by_key(&offset, |layer| layer.offset) else {
            return false;
        };
        Arc::make_mut(&mut layers).remove(index);
        true
    }

    fn insert(&self, layer: Layer) -> Result<(), MapError> {
        let mut layers = self.lock();
        let index = layers.partition_point(|other| other.offset < layer.offset);
        let before = index.checked_sub(1).and_then(|index| layers.get(index));
        let overlapping = before
            .filter(|before| before.end() > layer.offset)
            .or(layers.get(index).filter(|after| after.offset < layer.end()));
        if let Some(other) = overlapping {
            return Err(MapError::Overlap {
                offset: layer.offset,
                length: layer.length,
                other: other.offset,
            });
        }
        Arc::make_mut(&mut layers).insert(index, layer);
        Ok(())
    }

    /// A map is replaced in one step, so a poisoned lock still guards a whole one.
    fn lock(&self) -> std::sync::MutexGuard<'_, Layers> {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backing for LayerMap {
    fn capacity_bytes(&self) -> u64 {
        self.capacity_bytes
    }

    fn identifier(&self) -> &'static str {
        "dhow-layers"
    }

    fn limits(&self) -> Limits {
        Limits::ReadOnly
    }

    fn read(&mut self, offset: u64, target: &mut GuestSpan<'_>) -> io::Result<()> {
        let layers = Arc::clone(&self.lock());
        let mut index = layers.partition_point(|layer| layer.end() <= offset);
        let mut position = offset;
        while target.length() > 0 {
            let left = target.length();
            let next = layers.get(index);
            let Some(layer) = next.filter(|layer| layer.offset <= position) else {
                let hole = next.map_or(left, |layer| bounded(layer.offset - position, left));
                target.fill_zeroes(hole)?;
                position += hole as u64;
                continue;
            };
            let count = bounded(layer.end() - position, left);
            target.fill_from_file(&layer.file, position - layer.offset, count)?;
            position += count as u64;
            index += 1;
        }
        Ok(())
    }

    fn write(&mut self, _offset: u64, _source: &mut GuestSpan<'_>) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn discard(&mut self, _range: Range<u64>) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn write_zeroes(&mut self, _range: Range<u64>) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}

/// The smaller of a distance on the disk and a count in memory.
fn bounded(distance: u64, count: usize) -> usize {
    usize::try_from(distance).map_or(count, |distance| distance.min(count))
}
