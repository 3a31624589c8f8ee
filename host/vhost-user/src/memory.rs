//! Guest memory as a front-end announces it: regions of a file, each with a guest address and the
//! address at which the front-end itself has it mapped.
//!
//! Every device of a machine gets the same table, so [`Mappings`] maps each region once and all
//! sessions share it: fewer mappings, and each guest page is faulted in once, not once a device.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Weak};

use vhost::vhost_user::message::{VhostUserMemory, VhostUserMemoryRegion};
use vm_memory::mmap::MmapRegionError;
use vm_memory::{FileOffset, GuestAddress, GuestMemoryMmap, GuestRegionMmap, MmapRegion};

use crate::wire::{MAX_MESSAGE_FILES, Message, WireError, read_object};

/// Why a memory table is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MemoryError {
    /// Not a message that holds a table.
    #[error("failed to read the memory table")]
    Payload(#[from] WireError),
    /// No region, too many, or not one descriptor for each.
    #[error("{regions} memory regions came with {files} descriptors")]
    Count { regions: u32, files: usize },
    /// A region that is empty or ends beyond the address space.
    #[error("memory region {index} has an impossible range")]
    Range { index: usize },
    /// The descriptor cannot be examined.
    #[error("failed to examine the file of memory region {index}")]
    Examine {
        index: usize,
        #[source]
        source: io::Error,
    },
    /// The file is shorter than the region: touching what lies beyond would kill the process.
    #[error("memory region {index} ends beyond its file of {length} bytes")]
    BeyondFile { index: usize, length: u64 },
    /// The descriptor cannot be mapped.
    #[error("failed to map memory region {index}")]
    Map {
        index: usize,
        #[source]
        source: MmapRegionError,
    },
    /// Regions overlap.
    #[error("failed to lay out guest memory")]
    Layout(#[from] vm_memory::GuestRegionCollectionError),
}

/// Where a region lies in the front-end's own address space.
#[derive(Clone, Copy, Debug)]
struct Window {
    user_address: u64,
    guest_address: u64,
    length: u64,
}

/// The memory of one session.
#[derive(Debug)]
pub(crate) struct MemoryTable {
    guest: GuestMemoryMmap,
    windows: Vec<Window>,
}

impl MemoryTable {
    /// The memory devices work on.
    pub(crate) fn guest(&self) -> &GuestMemoryMmap {
        &self.guest
    }

    /// The guest address of what the front-end has at `user_address` (rings are told so).
    pub(crate) fn translate(&self, user_address: u64) -> Option<GuestAddress> {
        self.windows.iter().find_map(|window| {
            let distance = user_address.checked_sub(window.user_address)?;
            // Cannot overflow: the region's end was checked.
            (distance < window.length).then(|| GuestAddress(window.guest_address + distance))
        })
    }
}

/// What identifies a mapping: the file, and the part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct MappingKey {
    device: u64,
    inode: u64,
    offset: u64,
    length: usize,
}

/// Every mapping some session still holds.
#[derive(Debug, Default)]
pub(crate) struct Mappings {
    live: Vec<(MappingKey, Weak<MmapRegion>)>,
}

impl Mappings {
    /// The table of a SET_MEM_TABLE message.
    ///
    /// More payload than the regions need is ignored: User Mode Linux up to 6.12 always sends room
    /// for two.
    pub(crate) fn table(&mut self, message: Message) -> Result<MemoryTable, MemoryError> {
        let count = message.body::<VhostUserMemory>()?.num_regions;
        let files = message.files.len();
        if count == 0 || usize::try_from(count) != Ok(files) || files > MAX_MESSAGE_FILES {
            return Err(MemoryError::Count {
                regions: count,
                files,
            });
        }
        let mut rest = &message.payload[size_of::<VhostUserMemory>()..];
        let mut regions = Vec::with_capacity(files);
        let mut windows = Vec::with_capacity(files);
        for (index, file) in message.files.into_iter().enumerate() {
            let region: VhostUserMemoryRegion = read_object(rest)?;
            rest = &rest[size_of::<VhostUserMemoryRegion>()..];
            let (guest_region, window) = self.region(index, region, file)?;
            regions.push(Arc::new(guest_region));
            windows.push(window);
        }
        regions.sort_by_key(|region| vm_memory::GuestMemoryRegion::start_addr(region.as_ref()));
        Ok(MemoryTable {
            guest: GuestMemoryMmap::from_arc_regions(regions)?,
            windows,
        })
    }

    fn region(
        &mut self,
        index: usize,
        region: VhostUserMemoryRegion,
        file: OwnedFd,
    ) -> Result<(GuestRegionMmap, Window), MemoryError> {
        let window = Window {
            user_address: region.user_addr,
            guest_address: region.guest_phys_addr,
            length: region.memory_size,
        };
        let ends = [region.user_addr, region.guest_phys_addr, region.mmap_offset]
            .map(|start| start.checked_add(window.length));
        let length = usize::try_from(window.length).ok();
        let (Some(length @ 1..), true) = (length, ends.iter().all(Option::is_some)) else {
            return Err(MemoryError::Range { index });
        };
        let mapping = self.mapping(index, File::from(file), region.mmap_offset, length)?;
        let guest_region = GuestRegionMmap::with_arc(mapping, GuestAddress(window.guest_address))
            .ok_or(MemoryError::Range { index })?;
        Ok((guest_region, window))
    }

    /// The mapping of a part of `file`: one that lives already, or a new one.
    fn mapping(
        &mut self,
        index: usize,
        file: File,
        offset: u64,
        length: usize,
    ) -> Result<Arc<MmapRegion>, MemoryError> {
        let metadata = file
            .metadata()
            .map_err(|source| MemoryError::Examine { index, source })?;
        // The sum was checked before.
        if metadata.len() < offset.saturating_add(length as u64) {
            return Err(MemoryError::BeyondFile {
                index,
                length: metadata.len(),
            });
        }
        let key = MappingKey {
            device: metadata.dev(),
            inode: metadata.ino(),
            offset,
            length,
        };
        self.live.retain(|(_, mapping)| mapping.strong_count() > 0);
        let known = self.live.iter().find(|(other, _)| *other == key);
        if let Some(mapping) = known.and_then(|(_, mapping)| mapping.upgrade()) {
            return Ok(mapping);
        }
        let mapping = MmapRegion::from_file(FileOffset::new(file, offset), length)
            .map_err(|source| MemoryError::Map { index, source })?;
        let mapping = Arc::new(mapping);
        self.live.push((key, Arc::downgrade(&mapping)));
        Ok(mapping)
    }
}

#[cfg(test)]
mod tests;
