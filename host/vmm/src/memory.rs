//! Guest memory: anonymous mappings, handed to KVM as one slot per range.

use std::io;
use std::ptr;

use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::VmFd;
use nix::libc;
use vm_memory::{
    Address, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion, GuestRegionMmap,
    MmapRegion,
};

use crate::layout::{ABOVE_4G_ADDRESS, DEVICE_HOLE_ADDRESS};

/// Bytes of a huge page on x86-64.
const HUGE_PAGE_BYTES: usize = 2 << 20;
/// Memory of our own, counted when touched: a guest rarely uses all of it.
const MAP_FLAGS: libc::c_int = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;

/// Why guest memory could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The mapping failed.
    #[error("failed to map {bytes} bytes of guest memory")]
    Map {
        /// How much was asked for.
        bytes: u64,
        /// What the operating system answered.
        #[source]
        source: io::Error,
    },
    /// The memory layer does not take the mapping.
    #[error("failed to use {bytes} bytes of guest memory")]
    Region {
        /// How much was asked for.
        bytes: u64,
        /// What the memory layer met.
        #[source]
        source: vm_memory::mmap::MmapRegionError,
    },
    /// The memory layer does not take the ranges.
    #[error("failed to arrange {bytes} bytes of guest memory")]
    Arrange {
        /// How much was asked for.
        bytes: u64,
        /// What the memory layer met.
        #[source]
        source: vm_memory::GuestRegionCollectionError,
    },
    /// More than this process can address.
    #[error("{bytes} bytes of guest memory do not fit this process")]
    TooLarge {
        /// How much was asked for.
        bytes: u64,
    },
    /// KVM refused a slot.
    #[error("failed to give KVM the memory at guest address {address:#x}")]
    Slot {
        /// Where the slot begins.
        address: u64,
        /// What KVM answered.
        #[source]
        source: kvm_ioctls::Error,
    },
}

/// The ranges that `bytes` of RAM take: one below the device hole, the rest above 4 GiB.
pub(crate) fn ranges(bytes: u64) -> Vec<(u64, u64)> {
    let low = bytes.min(DEVICE_HOLE_ADDRESS);
    let mut ranges = vec![(0, low)];
    if bytes > low {
        ranges.push((ABOVE_4G_ADDRESS, bytes - low));
    }
    ranges
}

/// A part of this process's address space, given back when dropped.
///
/// `vm-memory` would own a mapping, but one that begins where the operating system likes.
#[derive(Debug)]
pub(crate) struct Mapping {
    whole: *mut libc::c_void,
    whole_bytes: usize,
    aligned: *mut u8,
}

// SAFETY: a mapping belongs to the process, not to a thread.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps `bytes` of zeroes that begin at a huge page.
    fn new(bytes: usize) -> io::Result<Self> {
        let whole_bytes = bytes
            .checked_add(HUGE_PAGE_BYTES)
            .ok_or(io::ErrorKind::OutOfMemory)?;
        // SAFETY: a new private mapping where the operating system finds room touches nothing else.
        let whole = unsafe {
            libc::mmap(
                ptr::null_mut(),
                whole_bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                MAP_FLAGS,
                -1,
                0,
            )
        };
        if whole == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let skipped = whole.cast::<u8>().align_offset(HUGE_PAGE_BYTES);
        let aligned = whole.cast::<u8>().wrapping_add(skipped);
        Ok(Self {
            whole,
            whole_bytes,
            aligned,
        })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this is the mapping made above; whoever holds it lets go of the memory in it first.
        let result = unsafe { libc::munmap(self.whole, self.whole_bytes) };
        debug_assert_eq!(result, 0, "a whole mapping can be taken back");
    }
}

/// Maps guest memory. It costs nothing until touched. The mappings must be kept for as long as the
/// memory is used.
///
/// KVM maps a huge page into the guest only where the guest's and the host's addresses are the same
/// within it, so both begin at one.
pub(crate) fn map(bytes: u64) -> Result<(GuestMemoryMmap, Vec<Mapping>), MemoryError> {
    let mut mappings = Vec::new();
    let mut regions = Vec::new();
    for (start, length) in ranges(bytes) {
        let length =
            usize::try_from(length).map_err(|_out_of_range| MemoryError::TooLarge { bytes })?;
        let mapping = Mapping::new(length).map_err(|source| MemoryError::Map { bytes, source })?;
        // SAFETY: `length` bytes from there are a mapping of ours, which the caller keeps.
        let region = unsafe {
            MmapRegion::build_raw(
                mapping.aligned,
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                MAP_FLAGS,
            )
        };
        let region = region.map_err(|source| MemoryError::Region { bytes, source })?;
        advise_huge_pages(mapping.aligned, length);
        mappings.push(mapping);
        regions.push(
            GuestRegionMmap::new(region, GuestAddress(start))
                .ok_or(MemoryError::TooLarge { bytes })?,
        );
    }
    let memory = GuestMemoryMmap::from_regions(regions)
        .map_err(|source| MemoryError::Arrange { bytes, source })?;
    Ok((memory, mappings))
}

/// Asks for huge pages: a fault of the guest's then maps 2 MiB at once, where faults through
/// nested page tables are what a short boot spends its time on.
fn advise_huge_pages(start: *mut u8, bytes: usize) {
    // SAFETY: the range is in a mapping of ours; MADV_HUGEPAGE changes no contents.
    let result = unsafe { libc::madvise(start.cast(), bytes, libc::MADV_HUGEPAGE) };
    if result != 0 {
        // A kernel built without them: slower, not wrong.
        tracing::debug!(error = %io::Error::last_os_error(), "no huge pages for guest memory");
    }
}

/// Gives `memory` to the virtual machine, one slot per range.
pub(crate) fn give_to_kvm(vm: &VmFd, memory: &GuestMemoryMmap) -> Result<(), MemoryError> {
    for (slot, region) in (0u32..).zip(memory.iter()) {
        let address = region.start_addr().raw_value();
        let slot = kvm_userspace_memory_region {
            slot,
            flags: 0,
            guest_phys_addr: address,
            memory_size: region.len(),
            userspace_addr: region.as_ptr() as u64,
        };
        // SAFETY: the range is a whole mapping that `Vm` keeps until after the machine is gone.
        let given = unsafe { vm.set_user_memory_region(slot) };
        given.map_err(|source| MemoryError::Slot { address, source })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn puts_small_memory_below_the_device_hole() {
        assert_eq!(ranges(512 << 20), [(0, 512 << 20)]);
    }

    #[test]
    fn begins_at_a_huge_page() {
        let (memory, mappings) = map(16 << 20).unwrap();

        let region = memory.iter().next().unwrap();

        assert_eq!(region.as_ptr().align_offset(HUGE_PAGE_BYTES), 0);
        assert_eq!((region.len(), mappings.len()), (16 << 20, 1));
    }

    #[test]
    fn goes_on_above_four_gib_when_the_hole_is_reached() {
        assert_eq!(ranges(4 << 30), [(0, 3 << 30), (4 << 30, 1 << 30)]);
    }
}
