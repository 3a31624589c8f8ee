//! Guest memory: anonymous mappings, handed to KVM as one slot per range.

use std::io;

use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::VmFd;
use nix::libc;
use vm_memory::{Address, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};

use crate::layout::{ABOVE_4G_ADDRESS, DEVICE_HOLE_ADDRESS};

/// Why guest memory could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The mapping failed.
    #[error("failed to map {bytes} bytes of guest memory")]
    Map {
        /// How much was asked for.
        bytes: u64,
        /// What the memory layer met.
        #[source]
        source: vm_memory::mmap::FromRangesError,
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

/// Maps guest memory. It costs nothing until touched.
pub(crate) fn map(bytes: u64) -> Result<GuestMemoryMmap, MemoryError> {
    let ranges = ranges(bytes)
        .into_iter()
        .map(|(start, length)| Ok((GuestAddress(start), usize::try_from(length)?)))
        .collect::<Result<Vec<_>, std::num::TryFromIntError>>()
        .map_err(|_out_of_range| MemoryError::TooLarge { bytes })?;
    let memory = GuestMemoryMmap::from_ranges(&ranges)
        .map_err(|source| MemoryError::Map { bytes, source })?;
    for region in memory.iter() {
        advise_huge_pages(region.as_ptr(), region.size());
    }
    Ok(memory)
}

/// Asks for huge pages: a fault of the guest's then maps 2 MiB at once, where faults through
/// nested page tables are what a short boot spends its time on.
fn advise_huge_pages(start: *mut u8, bytes: usize) {
    // SAFETY: the range is a whole mapping of ours; MADV_HUGEPAGE changes no contents.
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
    fn goes_on_above_four_gib_when_the_hole_is_reached() {
        assert_eq!(ranges(4 << 30), [(0, 3 << 30), (4 << 30, 1 << 30)]);
    }
}
