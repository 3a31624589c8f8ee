//! The machine of the probe: one vCPU in 64-bit mode, 256 KiB, nothing else.

use kvm_bindings::{
    CpuId, KVM_MAX_CPUID_ENTRIES, kvm_dtable, kvm_regs, kvm_segment, kvm_sregs,
    kvm_userspace_memory_region,
};
use kvm_ioctls::{Kvm, VcpuFd, VmFd};
use vm_memory::{
    Bytes as _, GuestAddress, GuestMemoryBackend as _, GuestMemoryError, GuestMemoryMmap,
};

use super::guest;
use crate::vcpu::set_saved_state;

/// `cr0`: protected mode, FPU and its errors native, write protection, paging.
const CR0: u64 = 0x8001_0033;
/// `cr4`: physical address extension, SSE and its exceptions.
const CR4: u64 = 0x620;
/// `cr4`: XSAVE.
const CR4_XSAVE: u64 = 1 << 18;
/// `efer`: system calls, long mode enabled and active.
const EFER: u64 = 0x501;
/// Bit 1 of the flags register is always one.
const FLAGS: u64 = 0x2;
/// CPUID leaf 1, `ecx`: XSAVE.
const ECX_XSAVE: u32 = 1 << 26;

/// Segment descriptors: none; code and data of level 0; 32-bit code (which `sysretq` skips), data
/// and code of level 3. Base and limit mean nothing in 64-bit mode.
const DESCRIPTORS: [u64; 6] = [
    0,
    0x00af_9b00_0000_ffff,
    0x00cf_9300_0000_ffff,
    0x00cf_fb00_0000_ffff,
    0x00cf_f300_0000_ffff,
    0x00af_fb00_0000_ffff,
];
/// Vector of the invalid-opcode exception.
const INVALID_OPCODE: u64 = 6;
/// Size of an interrupt descriptor in 64-bit mode.
const GATE_BYTES: u64 = 16;
/// Type of an interrupt descriptor: present, interrupt gate.
const GATE: u64 = 0x8e;
/// Size of a 64-bit task state segment.
const TASK_STATE_BYTES: u32 = 0x68;

/// Why the machine could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// KVM refused a step.
    #[error("failed to {operation}")]
    Kvm {
        /// What we tried.
        operation: &'static str,
        /// What KVM answered.
        #[source]
        source: kvm_ioctls::Error,
    },
    /// The guest's memory could not be mapped.
    #[error("failed to map the guest's memory")]
    Map(#[source] vm_memory::mmap::FromRangesError),
    /// The guest's memory could not be written.
    #[error("failed to write the guest's memory")]
    Write(#[from] GuestMemoryError),
}

/// The machine, ready to run. Its fields go in this order: KVM lets go of the memory first.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) vcpu: VcpuFd,
    pub(super) recommended_vcpus: usize,
    _vm: VmFd,
    _memory: GuestMemoryMmap,
}

impl Machine {
    pub(super) fn new(kvm: &Kvm) -> Result<Self, ProbeError> {
        let failed = |operation| move |source| ProbeError::Kvm { operation, source };
        let memory = memory()?;
        let vm = kvm
            .create_vm()
            .map_err(failed("create a virtual machine"))?;
        give_memory(&vm, &memory).map_err(failed("give it memory"))?;
        let vcpu = vm.create_vcpu(0).map_err(failed("create a virtual CPU"))?;
        let features = kvm
            .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
            .map_err(failed("ask for the CPU features that KVM supports"))?;
        let xsave = has_xsave(&features);
        vcpu.set_cpuid2(&features)
            .map_err(failed("set the CPU's features"))?;
        set_saved_state(&vcpu, &features).map_err(failed("choose the CPU's saved state"))?;
        let special = vcpu
            .get_sregs()
            .map_err(failed("read the CPU's segments"))?;
        vcpu.set_sregs(&long_mode(special, xsave))
            .map_err(failed("enter 64-bit mode"))?;
        let registers = kvm_regs {
            rip: guest::CODE,
            rsp: guest::STACK,
            rflags: FLAGS,
            rdi: if xsave { guest::HAS_XSAVE } else { 0 },
            ..Default::default()
        };
        vcpu.set_regs(&registers)
            .map_err(failed("set the CPU's registers"))?;
        Ok(Self {
            vcpu,
            recommended_vcpus: kvm.get_nr_vcpus(),
            _vm: vm,
            _memory: memory,
        })
    }
}

fn has_xsave(features: &CpuId) -> bool {
    features
        .as_slice()
        .iter()
        .any(|leaf| leaf.function == 1 && leaf.ecx & ECX_XSAVE != 0)
}

fn give_memory(vm: &VmFd, memory: &GuestMemoryMmap) -> Result<(), kvm_ioctls::Error> {
    let host = memory
        .get_host_address(GuestAddress(0))
        .expect("the memory was mapped from address zero");
    let slot = kvm_userspace_memory_region {
        slot: 0,
        flags: 0,
        guest_phys_addr: 0,
        memory_size: guest::MEMORY_BYTES,
        userspace_addr: host as u64,
    };
    // SAFETY: the range is the whole mapping, which `Machine` keeps until after the machine.
    unsafe { vm.set_user_memory_region(slot) }
}

/// Page tables, descriptors and code.
fn memory() -> Result<GuestMemoryMmap, ProbeError> {
    let bytes = usize::try_from(guest::MEMORY_BYTES).expect("256 KiB");
    let memory =
        GuestMemoryMmap::from_ranges(&[(GuestAddress(0), bytes)]).map_err(ProbeError::Map)?;
    let put = |value: u64, address| memory.write_obj(value, GuestAddress(address));
    for level in 0..3 {
        let table = guest::TABLES + level * 0x1000;
        put((table + 0x1000) | guest::PAGE_FLAGS, table)?;
    }
    for page in 0..guest::MEMORY_BYTES / 0x1000 {
        put(
            (page * 0x1000) | guest::PAGE_FLAGS,
            guest::LAST_TABLE + page * 8,
        )?;
    }
    for (index, descriptor) in (0u64..).zip(DESCRIPTORS) {
        put(descriptor, guest::SEGMENTS + index * 8)?;
    }
    let (code, fault) = guest::code();
    memory.write_slice(code, GuestAddress(guest::CODE))?;
    put(
        gate(guest::CODE + fault),
        guest::INTERRUPTS + INVALID_OPCODE * GATE_BYTES,
    )?;
    Ok(memory)
}

/// The first half of an interrupt descriptor for a handler below 4 GiB; the other half is zero.
fn gate(handler: u64) -> u64 {
    (handler & 0xffff)
        | (u64::from(guest::KERNEL_CODE) << 16)
        | (GATE << 40)
        | ((handler >> 16) << 48)
}

fn long_mode(mut special: kvm_sregs, xsave: bool) -> kvm_sregs {
    let segment = |selector, kind, long: bool| kvm_segment {
        limit: u32::MAX,
        selector,
        type_: kind,
        present: 1,
        db: u8::from(!long),
        s: 1,
        l: u8::from(long),
        g: 1,
        ..Default::default()
    };
    special.cs = segment(guest::KERNEL_CODE, 0xb, true);
    let data = segment(guest::KERNEL_DATA, 0x3, false);
    (special.ds, special.es, special.fs) = (data, data, data);
    (special.gs, special.ss) = (data, data);
    special.tr = kvm_segment {
        base: guest::TASK_STATE,
        limit: TASK_STATE_BYTES - 1,
        type_: 0xb,
        present: 1,
        ..Default::default()
    };
    special.gdt = table(guest::SEGMENTS, size_of_val(&DESCRIPTORS));
    special.idt = table(guest::INTERRUPTS, 0x1000);
    special.cr0 = CR0;
    special.cr3 = guest::TABLES;
    special.cr4 = if xsave { CR4 | CR4_XSAVE } else { CR4 };
    special.efer = EFER;
    special
}

fn table(base: u64, bytes: usize) -> kvm_dtable {
    kvm_dtable {
        base,
        limit: u16::try_from(bytes - 1).expect("a page at most"),
        ..Default::default()
    }
}
