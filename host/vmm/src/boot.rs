//! Loads the kernel and what it needs to start: PVH, the boot protocol with the least around it.
//!
//! The kernel is entered in 32-bit protected mode with paging off and the address of a start info
//! block in `ebx`; it brings its own page tables and descriptor tables
//! (<https://xenbits.xen.org/docs/unstable/misc/pvh.html>).

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use linux_loader::loader::elf::PvhBootCapability;
use linux_loader::loader::elf::start_info::{
    XEN_HVM_MEMMAP_TYPE_RAM, XEN_HVM_START_MAGIC_VALUE, hvm_memmap_table_entry, hvm_modlist_entry,
    hvm_start_info,
};
use linux_loader::loader::{Elf, KernelLoader as _};
use vm_memory::{
    ByteValued, Bytes as _, GuestAddress, GuestMemoryBackend as _, GuestMemoryError,
    GuestMemoryMmap, GuestMemoryRegion as _,
};

use crate::layout::{
    COMMAND_LINE_ADDRESS, HIGH_RAM_ADDRESS, MEMORY_MAP_ADDRESS, MODULE_LIST_ADDRESS,
    MP_TABLE_ADDRESS, PAGE_BYTES, START_INFO_ADDRESS,
};

/// Version of the start info block: the first with a memory map.
const START_INFO_VERSION: u32 = 1;

/// Why the guest's software could not be put in place.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The file is not there or not ours to read.
    #[error("failed to open {}", path.display())]
    Open {
        /// The kernel or initramfs.
        path: PathBuf,
        /// What the operating system answered.
        #[source]
        source: io::Error,
    },
    /// The kernel is no ELF file, or does not fit.
    #[error("failed to load the kernel {}", path.display())]
    Kernel {
        /// The kernel.
        path: PathBuf,
        /// What the loader met.
        #[source]
        source: linux_loader::loader::Error,
    },
    /// The kernel was built without `CONFIG_PVH`.
    #[error("the kernel {} has no PVH entry (CONFIG_PVH)", path.display())]
    NoPvhEntry {
        /// The kernel.
        path: PathBuf,
    },
    /// The initramfs could not be read.
    #[error("failed to read the initramfs {}", path.display())]
    ReadInitramfs {
        /// The initramfs.
        path: PathBuf,
        /// What the operating system answered.
        #[source]
        source: io::Error,
    },
    /// Kernel and initramfs together are larger than guest memory.
    #[error("an initramfs of {bytes} bytes does not fit between the kernel and the end of memory")]
    InitramfsTooLarge {
        /// Its size.
        bytes: u64,
    },
    /// The initramfs landed outside guest memory.
    #[error("failed to place the initramfs in guest memory")]
    PlaceInitramfs(#[source] GuestMemoryError),
    /// A boot structure could not be written.
    #[error("failed to write the {what} into guest memory")]
    Write {
        /// Which structure.
        what: &'static str,
        /// What the memory layer met.
        #[source]
        source: GuestMemoryError,
    },
    /// The command line with the devices on it is too long.
    #[error("failed to take the command line")]
    CommandLine(#[source] crate::config::ConfigError),
}

/// What was loaded, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loaded {
    /// The PVH entry point.
    pub(crate) entry: u64,
    /// Address and length of the initramfs.
    initramfs: Option<(u64, u64)>,
}

/// Loads kernel and initramfs into `memory`.
pub(crate) fn load(
    memory: &GuestMemoryMmap,
    kernel: &Path,
    initramfs: Option<&Path>,
) -> Result<Loaded, BootError> {
    let mut file = open(kernel)?;
    let loaded = Elf::load(
        memory,
        None,
        &mut file,
        Some(GuestAddress(HIGH_RAM_ADDRESS)),
    )
    .map_err(|source| BootError::Kernel {
        path: kernel.to_owned(),
        source,
    })?;
    let PvhBootCapability::PvhEntryPresent(entry) = loaded.pvh_boot_cap else {
        return Err(BootError::NoPvhEntry {
            path: kernel.to_owned(),
        });
    };
    let initramfs = initramfs
        .map(|path| place_initramfs(memory, path, loaded.kernel_end))
        .transpose()?;
    Ok(Loaded {
        entry: entry.0,
        initramfs,
    })
}

fn open(path: &Path) -> Result<File, BootError> {
    File::open(path).map_err(|source| BootError::Open {
        path: path.to_owned(),
        source,
    })
}

/// Reads the initramfs straight into the end of low RAM, where the kernel will not grow into it.
fn place_initramfs(
    memory: &GuestMemoryMmap,
    path: &Path,
    kernel_end: u64,
) -> Result<(u64, u64), BootError> {
    let failed = |source| BootError::ReadInitramfs {
        path: path.to_owned(),
        source,
    };
    let mut file = open(path)?;
    let bytes = file.metadata().map_err(failed)?.len();
    let low_ram = memory.iter().next().map_or(0, |region| region.len());
    let start = low_ram
        .checked_sub(bytes)
        .map(|start| start / PAGE_BYTES * PAGE_BYTES)
        .filter(|start| *start >= kernel_end)
        .ok_or(BootError::InitramfsTooLarge { bytes })?;
    let length =
        usize::try_from(bytes).map_err(|_out_of_range| BootError::InitramfsTooLarge { bytes })?;
    memory
        .read_exact_volatile_from(GuestAddress(start), &mut file, length)
        .map_err(BootError::PlaceInitramfs)?;
    Ok((start, bytes))
}

/// Writes the command line and the start info block; the guest may start then.
pub(crate) fn write_start_info(
    memory: &GuestMemoryMmap,
    loaded: Loaded,
    command_line: &str,
) -> Result<(), BootError> {
    crate::config::check_command_line(command_line).map_err(BootError::CommandLine)?;
    let mut line = command_line.as_bytes().to_vec();
    line.push(0);
    memory
        .write_slice(&line, GuestAddress(COMMAND_LINE_ADDRESS))
        .map_err(|source| BootError::Write {
            what: "command line",
            source,
        })?;

    let modules = u32::from(loaded.initramfs.is_some());
    if let Some((paddr, size)) = loaded.initramfs {
        let module = hvm_modlist_entry {
            paddr,
            size,
            ..Default::default()
        };
        write(memory, module, MODULE_LIST_ADDRESS, "module list")?;
    }
    let entries = write_memory_map(memory)?;
    let start_info = hvm_start_info {
        magic: XEN_HVM_START_MAGIC_VALUE,
        version: START_INFO_VERSION,
        nr_modules: modules,
        modlist_paddr: MODULE_LIST_ADDRESS,
        cmdline_paddr: COMMAND_LINE_ADDRESS,
        memmap_paddr: MEMORY_MAP_ADDRESS,
        memmap_entries: entries,
        ..Default::default()
    };
    write(memory, start_info, START_INFO_ADDRESS, "start info")
}

/// Writes the memory map: RAM up to the MP table, from 1 MiB on, and above 4 GiB.
fn write_memory_map(memory: &GuestMemoryMmap) -> Result<u32, BootError> {
    let mut ranges = vec![(0, MP_TABLE_ADDRESS)];
    for region in memory.iter() {
        let start = region.start_addr().0.max(HIGH_RAM_ADDRESS);
        let end = region.start_addr().0.saturating_add(region.len());
        if end > start {
            ranges.push((start, end - start));
        }
    }
    let mut entries = 0;
    let mut address = MEMORY_MAP_ADDRESS;
    for (addr, size) in ranges {
        let entry = hvm_memmap_table_entry {
            addr,
            size,
            type_: XEN_HVM_MEMMAP_TYPE_RAM,
            ..Default::default()
        };
        write(memory, entry, address, "memory map")?;
        address += size_of::<hvm_memmap_table_entry>() as u64;
        entries += 1;
    }
    Ok(entries)
}

fn write<T: ByteValued>(
    memory: &GuestMemoryMmap,
    value: T,
    address: u64,
    what: &'static str,
) -> Result<(), BootError> {
    memory
        .write_obj(value, GuestAddress(address))
        .map_err(|source| BootError::Write { what, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> GuestMemoryMmap {
        GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 4 << 20)]).unwrap()
    }

    #[test]
    fn tells_the_kernel_of_ram_around_the_legacy_hole() {
        let memory = memory();
        let loaded = Loaded {
            entry: 0,
            initramfs: None,
        };

        write_start_info(&memory, loaded, "quiet").unwrap();

        let info: hvm_start_info = memory.read_obj(GuestAddress(START_INFO_ADDRESS)).unwrap();
        let high: hvm_memmap_table_entry = memory
            .read_obj(GuestAddress(MEMORY_MAP_ADDRESS + 24))
            .unwrap();
        assert_eq!((info.memmap_entries, info.nr_modules), (2, 0));
        assert_eq!((high.addr, high.size), (1 << 20, 3 << 20));
    }

    #[test]
    fn names_a_kernel_that_is_not_there() {
        let error = load(&memory(), Path::new("/nowhere/vmlinux"), None).unwrap_err();

        assert_eq!(error.to_string(), "failed to open /nowhere/vmlinux");
    }

    #[test]
    fn refuses_a_kernel_that_is_no_elf_file() {
        let error = load(&memory(), Path::new("/proc/self/status"), None).unwrap_err();

        assert!(matches!(error, BootError::Kernel { .. }), "{error:?}");
    }

    #[test]
    fn refuses_an_initramfs_larger_than_the_room_above_the_kernel() {
        let path = std::env::current_exe().unwrap();

        let error = place_initramfs(&memory(), &path, 4 << 20).unwrap_err();

        assert!(
            matches!(error, BootError::InitramfsTooLarge { .. }),
            "{error:?}"
        );
    }
}
