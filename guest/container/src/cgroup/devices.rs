//! Which devices a container may use: cgroup v2 asks an eBPF program, written here from
//! `linux.resources.devices`.
//!
//! The program gets the access (type in the low half, what is done in the high half), major and
//! minor number (`struct bpf_cgroup_dev_ctx`) and answers 1 or 0. In OCI's list the last rule that
//! matches decides, so the program tries them from the last to the first and leaves at the first
//! match; without any match the answer is no.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::libc;
use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};
use rustix::io::Errno;

/// The most rules of one container; the kernel takes programs of at least 4096 instructions, and a
/// rule has at most eight.
const MAX_RULES: usize = 400;

/// Why device rules cannot be set.
#[derive(Debug, thiserror::Error)]
pub enum DeviceFilterError {
    /// Too many rules.
    #[error("{0} device rules are more than {MAX_RULES}")]
    TooMany(usize),
    /// A rule that makes no sense.
    #[error("device rule number {0} has a bad type, access or number")]
    Rule(usize),
    /// The kernel refused the program.
    #[error("failed to load the device filter: this kernel needs CONFIG_CGROUP_BPF")]
    Load(#[source] Errno),
    /// The kernel refused to use the program.
    #[error("failed to attach the device filter")]
    Attach(#[source] Errno),
}

/// One eBPF instruction (`struct bpf_insn`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Instruction {
    code: u8,
    /// Destination in the low half, source in the high half.
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// Offsets in `struct bpf_cgroup_dev_ctx`.
const ACCESS_OFFSET: i16 = 0;
const MAJOR_OFFSET: i16 = 4;
const MINOR_OFFSET: i16 = 8;

/// `BPF_DEVCG_DEV_…`, `BPF_DEVCG_ACC_…` of `linux/bpf.h`.
const TYPE_BLOCK: i32 = 1;
const TYPE_CHARACTER: i32 = 2;
const ACCESS_MKNOD: i32 = 1;
const ACCESS_READ: i32 = 2;
const ACCESS_WRITE: i32 = 4;
const ACCESS_ALL: i32 = ACCESS_MKNOD | ACCESS_READ | ACCESS_WRITE;

/// Registers: the context comes in 1, the answer goes in 0.
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const TYPE: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 1;

/// Operations: class, size or operation, and source (`linux/bpf_common.h`).
const LOAD_WORD: u8 = 0x61;
const MOVE_REGISTER: u8 = 0xbc;
const MOVE_IMMEDIATE: u8 = 0xb4;
const AND_IMMEDIATE: u8 = 0x54;
const SHIFT_RIGHT_IMMEDIATE: u8 = 0x74;
const JUMP_UNLESS_EQUAL: u8 = 0x56;
const JUMP_UNLESS_EQUAL_REGISTER: u8 = 0x5e;
const EXIT: u8 = 0x95;

fn instruction(code: u8, target: u8, source: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction {
        code,
        registers: target | (source << 4),
        offset,
        immediate,
    }
}

/// The program for these rules.
pub(crate) fn program(rules: &[LinuxDeviceCgroup]) -> Result<Vec<Instruction>, DeviceFilterError> {
    if rules.len() > MAX_RULES {
        return Err(DeviceFilterError::TooMany(rules.len()));
    }
    let low_half = 0xffff;
    let mut program = vec![
        instruction(LOAD_WORD, TYPE, CONTEXT, ACCESS_OFFSET, 0),
        instruction(MOVE_REGISTER, ACCESS, TYPE, 0, 0),
        instruction(AND_IMMEDIATE, TYPE, 0, 0, low_half),
        instruction(SHIFT_RIGHT_IMMEDIATE, ACCESS, 0, 0, 16),
        instruction(LOAD_WORD, MAJOR, CONTEXT, MAJOR_OFFSET, 0),
        instruction(LOAD_WORD, MINOR, CONTEXT, MINOR_OFFSET, 0),
    ];
    for (index, rule) in rules.iter().enumerate().rev() {
        let block = block(rule).ok_or(DeviceFilterError::Rule(index))?;
        // A rule that matches everything ends the program: the verifier refuses code after it.
        let matches_everything = block.len() == ANSWER_LENGTH;
        program.extend(block);
        if matches_everything {
            return Ok(program);
        }
    }
    program.extend(answer(false));
    Ok(program)
}

/// How many instructions an answer has.
const ANSWER_LENGTH: usize = 2;

fn answer(allow: bool) -> [Instruction; ANSWER_LENGTH] {
    [
        instruction(MOVE_IMMEDIATE, ANSWER, 0, 0, i32::from(allow)),
        instruction(EXIT, 0, 0, 0, 0),
    ]
}

/// One rule: tests that jump past the answer, then the answer. `None` where the rule is wrong.
fn block(rule: &LinuxDeviceCgroup) -> Option<Vec<Instruction>> {
    let mut tests = Vec::new();
    match rule.typ() {
        None | Some(LinuxDeviceType::A) => {}
        Some(LinuxDeviceType::B) => tests.push((JUMP_UNLESS_EQUAL, TYPE, 0, TYPE_BLOCK)),
        Some(LinuxDeviceType::C | LinuxDeviceType::U) => {
            tests.push((JUMP_UNLESS_EQUAL, TYPE, 0, TYPE_CHARACTER));
        }
        Some(LinuxDeviceType::P) => return None,
    }
    let access = access_bits(rule.access().as_deref().unwrap_or("rwm"))?;
    if access != ACCESS_ALL {
        // What is asked must be within what the rule speaks of: access & rule == access.
        tests.push((MOVE_REGISTER, SCRATCH, ACCESS, 0));
        tests.push((AND_IMMEDIATE, SCRATCH, 0, access));
        tests.push((JUMP_UNLESS_EQUAL_REGISTER, SCRATCH, ACCESS, 0));
    }
    // OCI: no number, and Docker: -1, mean any.
    for (register, number) in [(MAJOR, rule.major()), (MINOR, rule.minor())] {
        if let Some(number) = number.filter(|number| *number != -1) {
            let number = i32::try_from(number).ok().filter(|number| *number >= 0)?;
            tests.push((JUMP_UNLESS_EQUAL, register, 0, number));
        }
    }
    let length = tests.len() + ANSWER_LENGTH;
    let mut block = Vec::with_capacity(length);
    for (index, (code, target, source, immediate)) in tests.into_iter().enumerate() {
        let is_jump = code == JUMP_UNLESS_EQUAL || code == JUMP_UNLESS_EQUAL_REGISTER;
        let past = i16::try_from(length - index - 1).ok()?;
        let offset = if is_jump { past } else { 0 };
        block.push(instruction(code, target, source, offset, immediate));
    }
    block.extend(answer(rule.allow()));
    Some(block)
}

fn access_bits(access: &str) -> Option<i32> {
    let mut bits = 0;
    for letter in access.chars() {
        bits |= match letter {
            'r' => ACCESS_READ,
            'w' => ACCESS_WRITE,
            'm' => ACCESS_MKNOD,
            _ => return None,
        };
    }
    (bits != 0).then_some(bits)
}

/// `BPF_PROG_LOAD`, `BPF_PROG_ATTACH` of `enum bpf_cmd`.
const COMMAND_LOAD: libc::c_int = 5;
const COMMAND_ATTACH: libc::c_int = 8;
/// `BPF_PROG_TYPE_CGROUP_DEVICE`, `BPF_CGROUP_DEVICE`.
const PROGRAM_TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_TYPE_CGROUP_DEVICE: u32 = 6;

/// The first fields of `union bpf_attr` for `BPF_PROG_LOAD`; the kernel takes the rest as zero.
#[repr(C)]
struct LoadAttributes {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
    kernel_version: u32,
    flags: u32,
}

/// The first fields of `union bpf_attr` for `BPF_PROG_ATTACH`.
#[repr(C)]
struct AttachAttributes {
    target: u32,
    program: u32,
    attach_type: u32,
    attach_flags: u32,
}

/// Loads a program into the kernel.
pub(crate) fn load(program: &[Instruction]) -> Result<OwnedFd, DeviceFilterError> {
    // The kernel lends some helpers to GPL programs only; ours calls none.
    let license = c"Apache-2.0";
    let attributes = LoadAttributes {
        program_type: PROGRAM_TYPE_CGROUP_DEVICE,
        instruction_count: u32::try_from(program.len())
            .expect("MAX_RULES bounds the length of a program"),
        instructions: program.as_ptr().expose_provenance() as u64,
        license: license.as_ptr().expose_provenance() as u64,
        log_level: 0,
        log_size: 0,
        log_buffer: 0,
        kernel_version: 0,
        flags: 0,
    };
    let descriptor = bpf(COMMAND_LOAD, &attributes).map_err(DeviceFilterError::Load)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Makes a group ask a program.
pub(crate) fn attach(
    group: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
) -> Result<(), DeviceFilterError> {
    let attributes = AttachAttributes {
        target: group.as_raw_fd().cast_unsigned(),
        program: program.as_raw_fd().cast_unsigned(),
        attach_type: ATTACH_TYPE_CGROUP_DEVICE,
        attach_flags: 0,
    };
    bpf(COMMAND_ATTACH, &attributes)
        .map(drop)
        .map_err(DeviceFilterError::Attach)
}

/// The system call.
fn bpf<T>(command: libc::c_int, attributes: &T) -> Result<libc::c_int, Errno> {
    let pointer = std::ptr::from_ref(attributes);
    // SAFETY: the kernel reads as many bytes of the attributes as they have, and from the program
    // and licence that they point to and that their makers keep alive.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, pointer, size_of::<T>()) };
    libc::c_int::try_from(result)
        .ok()
        .filter(|result| *result >= 0)
        .ok_or_else(|| Errno::from_raw_os_error(nix::errno::Errno::last_raw()))
}

#[cfg(test)]
mod tests;
