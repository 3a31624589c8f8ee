//! The guest of the probe: what every stock kernel does in its first moments, and where it lies.
//!
//! It starts in 64-bit mode at privilege level 0 with [`TABLES`] as page tables, and writes the
//! number of each thing that worked to [`PROGRESS_PORT`]. A wrong result goes to [`WRONG_PORT`].
//!
//! The addresses in the code are the constants below, handed in by name.

use std::arch::global_asm;

/// The guest writes the number of each [`Deed`] it did to this port.
pub(super) const PROGRESS_PORT: u16 = 0x10;
/// The guest writes to this port when a result was wrong.
pub(super) const WRONG_PORT: u16 = 0x11;

/// Memory of the guest, all of it in 4 KiB pages mapped at their own address.
pub(super) const MEMORY_BYTES: u64 = 0x4_0000;
/// Top-level page table; the three below it follow, a page each.
pub(super) const TABLES: u64 = 0x1000;
/// The last level of page tables.
pub(super) const LAST_TABLE: u64 = TABLES + 0x3000;
/// Interrupt descriptors.
pub(super) const INTERRUPTS: u64 = 0x5000;
/// Segment descriptors.
pub(super) const SEGMENTS: u64 = 0x6000;
/// The task state segment.
pub(super) const TASK_STATE: u64 = 0x7000;
/// The code.
pub(super) const CODE: u64 = 0x8000;
/// Where the processor's extended state is saved; aligned as XSAVE wants it.
const STATE: u64 = 0xa000;
/// Two pages that are mapped in turn at [`WINDOW`].
const FIRST_PAGE: u64 = 0xc000;
const SECOND_PAGE: u64 = 0xd000;
/// Top of the stack.
pub(super) const STACK: u64 = 0x1_0000;
/// The address whose mapping the guest changes.
const WINDOW: u64 = 0x2_0000;

/// Present, writable, for all privilege levels.
pub(super) const PAGE_FLAGS: u64 = 0x7;
/// Selectors of the segments: code and data of level 0; the base from which `sysret` counts.
pub(super) const KERNEL_CODE: u16 = 0x08;
pub(super) const KERNEL_DATA: u16 = 0x10;
pub(super) const USER_BASE: u16 = 0x18;
/// Set in `edi` where the processor has XSAVE.
pub(super) const HAS_XSAVE: u64 = 1;

/// What the guest does, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// Runs at all.
    LongMode = 1,
    /// Adds with SSE.
    Sse = 2,
    /// Saves and restores the extended state.
    Xsave = 3,
    /// Changes a mapping and sees the change.
    Paging = 4,
    /// Takes an invalid-opcode fault and returns from it.
    Exception = 5,
    /// Goes to level 3 and comes back with a system call.
    SystemCall = 6,
}

impl Deed {
    /// All, in order.
    pub(super) const ALL: [Self; 6] = [
        Self::LongMode,
        Self::Sse,
        Self::Xsave,
        Self::Paging,
        Self::Exception,
        Self::SystemCall,
    ];

    /// What it is called where a user reads it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::LongMode => "run in 64-bit mode",
            Self::Sse => "use SSE",
            Self::Xsave => "save and restore the processor's state (XSAVE, XRSTOR)",
            Self::Paging => "change its page tables",
            Self::Exception => "take an exception and return from it",
            Self::SystemCall => "enter user mode and make a system call",
        }
    }
}

unsafe extern "C" {
    static dhow_probe_code: u8;
    static dhow_probe_fault: u8;
    static dhow_probe_end: u8;
}

/// The guest's code, and where in it the handler of invalid opcodes begins.
pub(super) fn code() -> (&'static [u8], u64) {
    let start = &raw const dhow_probe_code;
    let end = &raw const dhow_probe_end;
    let fault = &raw const dhow_probe_fault;
    let length = end.addr() - start.addr();
    // SAFETY: the assembler lays the bytes between both labels in one section, which is read-only.
    let bytes = unsafe { std::slice::from_raw_parts(start, length) };
    (bytes, (fault.addr() - start.addr()) as u64)
}

global_asm!(
    ".pushsection .rodata.dhow_probe, \"a\", @progbits",
    ".global dhow_probe_code",
    ".global dhow_probe_fault",
    ".global dhow_probe_end",
    "dhow_probe_code:",
    // 1: runs in 64-bit mode.
    "mov al, 1",
    "out {progress}, al",
    // 2: doubles a number with SSE; rbx keeps it.
    "mov rax, 0x1122334455667788",
    "movq xmm0, rax",
    "paddq xmm0, xmm0",
    "movq rbx, xmm0",
    "lea rcx, [rax + rax]",
    "cmp rbx, rcx",
    "jne 9f",
    "mov al, 2",
    "out {progress}, al",
    // 3: saves x87 and SSE state, clobbers it, restores it; a kernel's every context switch.
    "test edi, {has_xsave}",
    "jz 2f",
    // Writes back the choice of state that it finds: under an emulation that does not tell KVM of
    // this instruction another one would stay with the host when the guest is gone.
    "xor ecx, ecx",
    "xgetbv",
    "xsetbv",
    "mov eax, 3",
    "xor edx, edx",
    "mov esi, {state}",
    "xsave64 [rsi]",
    "pxor xmm0, xmm0",
    "xrstor64 [rsi]",
    "movq rcx, xmm0",
    "cmp rbx, rcx",
    "jne 9f",
    "2:",
    "mov al, 3",
    "out {progress}, al",
    // 4: maps one page, then another, at the same address, and reads each through it.
    "mov qword ptr [{first_page}], 1",
    "mov qword ptr [{second_page}], 2",
    "mov qword ptr [{window_entry}], {first_mapping}",
    "invlpg [{window}]",
    "cmp qword ptr [{window}], 1",
    "jne 9f",
    "mov qword ptr [{window_entry}], {second_mapping}",
    "invlpg [{window}]",
    "cmp qword ptr [{window}], 2",
    "jne 9f",
    "mov rax, cr3",
    "mov cr3, rax",
    "mov al, 4",
    "out {progress}, al",
    // 5: faults; the handler leaves a 6 in r8 and returns behind the two bytes of the opcode.
    "xor r8d, r8d",
    "ud2",
    "cmp r8d, 6",
    "jne 9f",
    "mov al, 5",
    "out {progress}, al",
    // 6: IA32_STAR has the selectors, IA32_LSTAR the entry, IA32_FMASK clears no flags.
    "mov ecx, 0xc0000081",
    "xor eax, eax",
    "mov edx, {selectors}",
    "wrmsr",
    "mov ecx, 0xc0000082",
    "lea rax, [rip + 4f]",
    "xor edx, edx",
    "wrmsr",
    "mov ecx, 0xc0000084",
    "xor eax, eax",
    "wrmsr",
    "lea rcx, [rip + 3f]",
    "mov r11d, 2",
    "xor r9d, r9d",
    "sysretq",
    // At level 3 now.
    "3:",
    "mov r9d, 7",
    "syscall",
    // Back at level 0.
    "4:",
    "cmp r9d, 7",
    "jne 9f",
    "mov al, 6",
    "out {progress}, al",
    "hlt",
    // A result was wrong.
    "9:",
    "out {wrong}, al",
    "hlt",
    // The handler of invalid opcodes.
    "dhow_probe_fault:",
    "mov r8d, 6",
    "add qword ptr [rsp], 2",
    "iretq",
    "dhow_probe_end:",
    ".popsection",
    progress = const PROGRESS_PORT,
    wrong = const WRONG_PORT,
    has_xsave = const HAS_XSAVE,
    state = const STATE,
    first_page = const FIRST_PAGE,
    second_page = const SECOND_PAGE,
    window = const WINDOW,
    window_entry = const LAST_TABLE + WINDOW / 4096 * 8,
    first_mapping = const FIRST_PAGE | PAGE_FLAGS,
    second_mapping = const SECOND_PAGE | PAGE_FLAGS,
    selectors = const (USER_BASE as u32) << 16 | KERNEL_CODE as u32,
);
