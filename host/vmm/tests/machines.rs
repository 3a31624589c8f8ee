//! Whole machines with guests of a few instructions, on whatever KVM this host has.
//!
//! A KVM in software that cannot run a stock kernel still runs these. Where there is none, each
//! test says so and passes: `tests/nested` has a KVM everywhere.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};

use dhow_vmm::{BuildError, Exit, Vm, VmConfig};
use nix::sys::eventfd::EventFd;
use tempfile::NamedTempFile;

/// Where the guest is loaded and entered.
const ENTRY: u32 = 0x10_0000;

/// An ELF file with one segment of `code`, and the note that makes it a PVH kernel.
fn kernel(code: &[u8]) -> NamedTempFile {
    let (headers, note_bytes) = (64 + 2 * 56, 20);
    let length = code.len() as u64;
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
    for field in [u64::from(ENTRY), 64, 0] {
        elf.extend(field.to_le_bytes());
    }
    elf.extend(0u32.to_le_bytes());
    for field in [64u16, 56, 2, 0, 0, 0] {
        elf.extend(field.to_le_bytes());
    }
    let mut segment = |kind: u32, offset: u64, address: u64, bytes: u64| {
        elf.extend(kind.to_le_bytes());
        elf.extend(7u32.to_le_bytes());
        for field in [offset, address, address, bytes, bytes, 4] {
            elf.extend(field.to_le_bytes());
        }
    };
    segment(4, headers, 0, note_bytes);
    segment(1, headers + note_bytes, u64::from(ENTRY), length);
    for field in [4u32, 4, 18] {
        elf.extend(field.to_le_bytes());
    }
    elf.extend(b"Xen\0");
    elf.extend(ENTRY.to_le_bytes());
    elf.extend(code);
    let mut file = NamedTempFile::new().expect("a temporary file");
    file.write_all(&elf).expect("a writable file");
    file
}

/// Builds a machine around `code`; none where this host has no KVM.
fn machine(code: &[u8]) -> Option<(Vm, File)> {
    let kernel = kernel(code);
    let console = tempfile::tempfile().expect("a temporary file");
    let config = VmConfig {
        kernel: kernel.path().to_owned(),
        initramfs: None,
        command_line: String::new(),
        memory_bytes: 8 << 20,
        vcpus: 1,
        console: Some(console.try_clone().expect("a spare descriptor")),
    };
    match Vm::new(&config) {
        Ok(machine) => Some((machine, console)),
        Err(BuildError::Kvm {
            operation: "open /dev/kvm",
            source,
        }) => {
            skipped(&format!("no KVM here: {source}"));
            None
        }
        Err(error) => panic!("{error:?}"),
    }
}

/// Says why a test does nothing here, and tells `cargo xtask test`, which repeats it at its end.
#[expect(clippy::print_stdout, reason = "a skip says why")]
fn skipped(reason: &str) {
    println!("skipped: {reason}");
    if let Some(list) = std::env::var_os("DHOW_SKIPPED") {
        let mut list = File::options().append(true).open(list).expect("the list");
        writeln!(list, "host/vmm: {reason}").expect("the list takes a line");
    }
}

fn text(mut console: File) -> String {
    let mut text = String::new();
    console.rewind().expect("a file that seeks");
    console.read_to_string(&mut text).expect("text");
    text
}

#[test]
fn prints_what_the_guest_writes_to_its_serial_port() {
    // mov dx, 0x3f8; mov al, 'h'; out dx, al; mov al, 'i'; out dx, al; mov al, 0xfe; out 0x64, al
    let code = b"\x66\xba\xf8\x03\xb0h\xee\xb0i\xee\xb0\xfe\xe6\x64\xf4";
    let Some((machine, console)) = machine(code) else {
        return;
    };

    let exit = machine.run(EventFd::new().unwrap()).unwrap();

    assert_eq!((exit, text(console).as_str()), (Exit::Reset, "hi"));
}

#[test]
fn powers_off_when_the_guest_says_so() {
    // mov dx, 0x604; out dx, al; hlt
    let Some((machine, _)) = machine(b"\x66\xba\x04\x06\xee\xf4") else {
        return;
    };

    let exit = machine.run(EventFd::new().unwrap()).unwrap();

    assert_eq!(exit, Exit::PowerOff);
}

#[test]
fn tells_a_panic_by_the_warm_reset_flag() {
    // mov word [0x472], 0x1234; mov al, 0xfe; out 0x64, al; hlt
    let code = b"\x66\xc7\x05\x72\x04\x00\x00\x34\x12\xb0\xfe\xe6\x64\xf4";
    let Some((machine, _)) = machine(code) else {
        return;
    };

    let exit = machine.run(EventFd::new().unwrap()).unwrap();

    assert_eq!(exit, Exit::Panic);
}

#[test]
fn stops_a_guest_that_spins_for_ever() {
    // jmp $
    let Some((machine, _)) = machine(b"\xeb\xfe") else {
        return;
    };
    let stop = EventFd::from_value(1).unwrap();

    let exit = machine.run(stop).unwrap();

    assert_eq!(exit, Exit::Stopped);
}

#[test]
fn stops_a_guest_that_sleeps_for_ever() {
    // hlt
    let Some((machine, _)) = machine(b"\xf4\xeb\xfd") else {
        return;
    };
    let stop = EventFd::from_value(1).unwrap();

    let exit = machine.run(stop).unwrap();

    assert_eq!(exit, Exit::Stopped);
}

#[test]
fn finds_the_start_info_where_the_protocol_says() {
    // mov eax, [ebx]; mov dx, 0x3f8; then print the four bytes of the magic; reset
    let code = b"\x8b\x03\x66\xba\xf8\x03\xee\xc1\xe8\x08\xee\xc1\xe8\x08\xee\xb0\xfe\xe6\x64\xf4";
    let Some((machine, console)) = machine(code) else {
        return;
    };

    machine.run(EventFd::new().unwrap()).unwrap();

    let mut bytes = Vec::new();
    let mut console = console;
    console.rewind().unwrap();
    console.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, [0x78, 0xc5, 0x6e]);
}

#[test]
fn reads_absent_memory_as_all_ones() {
    // mov eax, [0xd0000000]; mov dx, 0x3f8; and al, 'A' & mask; out; reset
    let code = b"\xa1\x00\x00\x00\xd0\x66\xba\xf8\x03\x24\x41\xee\xb0\xfe\xe6\x64\xf4";
    let Some((machine, console)) = machine(code) else {
        return;
    };

    machine.run(EventFd::new().unwrap()).unwrap();

    assert_eq!(text(console), "A");
}
