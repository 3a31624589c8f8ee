//! The MP table: tells a kernel without ACPI of its CPUs, I/O APIC and interrupt lines.
//!
//! Layout: Intel's *MultiProcessor Specification* 1.4, chapter 4. A floating pointer, the
//! configuration header and its entries lie one after another at
//! [`MP_TABLE_ADDRESS`](crate::layout::MP_TABLE_ADDRESS), where Linux searches first.

use vm_memory::{Bytes as _, GuestAddress, GuestMemoryError, GuestMemoryMmap};

use crate::layout::{
    IO_APIC_ADDRESS, LAST_LINE, LOCAL_APIC_ADDRESS, MAX_VCPUS, MP_TABLE_ADDRESS, MP_TABLE_BYTES,
};

/// Revision of the specification that the table follows: 1.4.
const SPECIFICATION_REVISION: u8 = 4;
/// Version of the integrated local APICs and of the I/O APIC, as Linux expects of modern ones.
const APIC_VERSION: u8 = 0x14;
/// Length of the floating pointer.
const POINTER_BYTES: usize = 16;
/// Length of the configuration header.
const HEADER_BYTES: usize = 44;
/// Length of a processor entry; all others take [`ENTRY_BYTES`].
const PROCESSOR_BYTES: usize = 20;
/// Length of a bus, I/O APIC or interrupt entry.
const ENTRY_BYTES: usize = 8;

/// Entry types.
const PROCESSOR: u8 = 0;
const BUS: u8 = 1;
const IO_APIC: u8 = 2;
const IO_INTERRUPT: u8 = 3;
const LOCAL_INTERRUPT: u8 = 4;

/// Processor flags: usable; the one that boots.
const CPU_ENABLED: u8 = 1;
const CPU_BOOT: u8 = 2;
/// Family 6, an ordinary processor; Linux does not read it.
const CPU_SIGNATURE: u32 = 0x600;
/// Features of the processor entry: an FPU and an APIC.
const CPU_FEATURES: u32 = 0x201;

/// Interrupt types.
const VECTORED: u8 = 0;
const NON_MASKABLE: u8 = 1;
const EXTERNAL: u8 = 3;
/// Polarity and trigger mode as the bus has it: ISA, so active high and edge-triggered.
const AS_THE_BUS: u16 = 0;
/// The only bus.
const ISA_BUS: u8 = 0;
/// Every local APIC, as the target of a local interrupt.
const ALL_APICS: u8 = 0xff;
/// How many interrupt entries there are beside the I/O APIC's lines: external and non-maskable.
const LOCAL_INTERRUPTS: usize = 2;

const _: () = assert!(
    POINTER_BYTES
        + HEADER_BYTES
        + MAX_VCPUS as usize * PROCESSOR_BYTES
        + (2 + LAST_LINE as usize + 1 + LOCAL_INTERRUPTS) * ENTRY_BYTES
        <= MP_TABLE_BYTES,
    "the MP table must fit the kilobyte that Linux searches"
);

/// Writes the table for `vcpus` CPUs, whose APIC IDs are their indexes.
pub(crate) fn write(memory: &GuestMemoryMmap, vcpus: u8) -> Result<(), GuestMemoryError> {
    memory.write_slice(&table(vcpus), GuestAddress(MP_TABLE_ADDRESS))
}

fn table(vcpus: u8) -> Vec<u8> {
    let (entries, count) = entries(vcpus);
    let mut table = floating_pointer();
    table.extend(header(&entries, count));
    table.extend(entries);
    table
}

fn floating_pointer() -> Vec<u8> {
    let header = u32::try_from(MP_TABLE_ADDRESS).expect("the table lies in the first megabyte")
        + u32::try_from(POINTER_BYTES).expect("a small constant");
    let mut pointer = b"_MP_".to_vec();
    pointer.extend(header.to_le_bytes());
    // Length in paragraphs of 16 bytes, revision, checksum, and no default configuration.
    pointer.extend([1, SPECIFICATION_REVISION, 0, 0, 0, 0, 0, 0]);
    pointer[10] = checksum(&pointer);
    pointer
}

fn header(entries: &[u8], count: u16) -> Vec<u8> {
    let length = u16::try_from(HEADER_BYTES + entries.len()).expect("the table fits a kilobyte");
    let mut header = b"PCMP".to_vec();
    header.extend(length.to_le_bytes());
    header.extend([SPECIFICATION_REVISION, 0]);
    header.extend(b"DHOW    ");
    header.extend(b"MICROVM     ");
    // No OEM table.
    header.extend([0; 6]);
    header.extend(count.to_le_bytes());
    header.extend(LOCAL_APIC_ADDRESS.to_le_bytes());
    // No extended table.
    header.extend([0; 4]);
    header[7] = checksum(&[&header[..], entries].concat());
    header
}

fn entries(vcpus: u8) -> (Vec<u8>, u16) {
    let io_apic = vcpus;
    let mut entries = Vec::new();
    let mut count = 0;
    for cpu in 0..vcpus {
        let boot = if cpu == 0 { CPU_BOOT } else { 0 };
        entries.extend([PROCESSOR, cpu, APIC_VERSION, CPU_ENABLED | boot]);
        entries.extend(CPU_SIGNATURE.to_le_bytes());
        entries.extend(CPU_FEATURES.to_le_bytes());
        entries.extend([0; 8]);
        count += 1;
    }
    entries.extend([BUS, ISA_BUS]);
    entries.extend(b"ISA   ");
    entries.extend([IO_APIC, io_apic, APIC_VERSION, CPU_ENABLED]);
    entries.extend(IO_APIC_ADDRESS.to_le_bytes());
    count += 2;
    for line in 0..=u8::try_from(LAST_LINE).expect("an I/O APIC has 24 lines") {
        entries.extend(interrupt(IO_INTERRUPT, VECTORED, line, [io_apic, line]));
        count += 1;
    }
    entries.extend(interrupt(LOCAL_INTERRUPT, EXTERNAL, 0, [0, 0]));
    entries.extend(interrupt(LOCAL_INTERRUPT, NON_MASKABLE, 0, [ALL_APICS, 1]));
    (entries, count + 2)
}

/// An interrupt entry from an ISA line to the input `target[1]` of the APIC `target[0]`.
fn interrupt(entry: u8, kind: u8, line: u8, target: [u8; 2]) -> [u8; ENTRY_BYTES] {
    let [flags_low, flags_high] = AS_THE_BUS.to_le_bytes();
    [
        entry, kind, flags_low, flags_high, ISA_BUS, line, target[0], target[1],
    ]
}

/// What makes the bytes of a structure sum up to zero.
fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_up_to_zero_where_linux_checks() {
        let table = table(3);

        assert_eq!(checksum(&table[..POINTER_BYTES]), 0);
        assert_eq!(checksum(&table[POINTER_BYTES..]), 0);
    }

    #[test]
    fn names_every_processor_once() {
        let table = table(2);

        assert_eq!(
            table[POINTER_BYTES + HEADER_BYTES..][..4],
            [PROCESSOR, 0, APIC_VERSION, 3]
        );
        assert_eq!(
            table[POINTER_BYTES + HEADER_BYTES + 20..][..4],
            [PROCESSOR, 1, APIC_VERSION, 1]
        );
    }

    #[test]
    fn says_its_own_length() {
        let table = table(MAX_VCPUS);

        let said = u16::from_le_bytes([table[POINTER_BYTES + 4], table[POINTER_BYTES + 5]]);
        assert_eq!(usize::from(said), table.len() - POINTER_BYTES);
    }
}
