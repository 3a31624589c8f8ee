//! Where things lie in the guest's physical address space and on its interrupt lines.
//!
//! ```text
//! 0x0000_6000  PVH start info, module list and memory map
//! 0x0002_0000  kernel command line
//! 0x0009_fc00  MP table (the extended BIOS data area, not RAM to the guest)
//! 0x0010_0000  kernel, then free RAM; the initramfs ends where low RAM ends
//! 0xc000_0000  end of low RAM: devices, interrupt controllers, TSS
//! 0x1_0000_0000  high RAM
//! ```

/// Bytes of a page.
pub(crate) const PAGE_BYTES: u64 = 4096;

/// The PVH start info block (<https://xenbits.xen.org/docs/unstable/misc/pvh.html>).
pub(crate) const START_INFO_ADDRESS: u64 = 0x6000;
/// The PVH module list: one entry, the initramfs.
pub(crate) const MODULE_LIST_ADDRESS: u64 = 0x6100;
/// The PVH memory map.
pub(crate) const MEMORY_MAP_ADDRESS: u64 = 0x6200;
/// The kernel command line.
pub(crate) const COMMAND_LINE_ADDRESS: u64 = 0x2_0000;
/// Linux on x86 copies no more of the command line (`COMMAND_LINE_SIZE`), final zero included.
pub(crate) const COMMAND_LINE_MAX_BYTES: usize = 2048;

/// End of conventional memory; Linux looks for the MP table in the kilobyte from here on.
pub(crate) const MP_TABLE_ADDRESS: u64 = 0x9_fc00;
/// Room for the MP table: the legacy video hole begins behind it.
pub(crate) const MP_TABLE_BYTES: usize = 0x400;
/// Where RAM goes on above the legacy hole, and the lowest address a kernel may load at.
pub(crate) const HIGH_RAM_ADDRESS: u64 = 0x10_0000;

/// Low RAM ends here at the latest; below 4 GiB the rest belongs to devices.
pub(crate) const DEVICE_HOLE_ADDRESS: u64 = 0xc000_0000;
/// RAM that did not fit below the hole goes on here.
pub(crate) const ABOVE_4G_ADDRESS: u64 = 0x1_0000_0000;

/// Registers of the first virtio device.
pub(crate) const MMIO_ADDRESS: u64 = 0xd000_0000;
/// Register window of one virtio device.
pub(crate) const MMIO_WINDOW_BYTES: u64 = PAGE_BYTES;

/// The I/O APIC, at its architectural address.
pub(crate) const IO_APIC_ADDRESS: u32 = 0xfec0_0000;
/// The local APICs, at their architectural address.
pub(crate) const LOCAL_APIC_ADDRESS: u32 = 0xfee0_0000;
/// Three pages that Intel's virtualisation keeps a task state segment in; not RAM.
pub(crate) const TSS_ADDRESS: usize = 0xfffb_d000;

/// Interrupt line of the serial port (COM1).
pub(crate) const SERIAL_LINE: u32 = 4;
/// Interrupt line of the first virtio device: those below are the timer, cascade and COM ports.
pub(crate) const FIRST_DEVICE_LINE: u32 = 5;
/// Last input of the in-kernel I/O APIC, which has 24.
pub(crate) const LAST_LINE: u32 = 23;
/// As many virtio devices as there are interrupt lines for.
pub(crate) const MAX_DEVICES: usize = (LAST_LINE - FIRST_DEVICE_LINE + 1) as usize;

/// As many vCPUs as fit the kilobyte of the MP table.
pub(crate) const MAX_VCPUS: u8 = 16;
