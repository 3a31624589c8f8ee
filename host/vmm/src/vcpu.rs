//! One virtual CPU: what it is when the guest starts, and the loop that runs it.

use kvm_bindings::{
    CpuId, Msrs, kvm_fpu, kvm_lapic_state, kvm_msr_entry, kvm_regs, kvm_segment, kvm_xcr, kvm_xcrs,
};
use kvm_ioctls::{VcpuExit, VcpuFd, VmFd};
use vm_memory::{Bytes as _, GuestAddress, GuestMemoryMmap};

use crate::cpuid::{self, Cpu};
use crate::exit::{Exit, RunError};
use crate::kick::Kick;
use crate::layout::START_INFO_ADDRESS;
use crate::platform::Platform;
use crate::ports::Request;

/// `cr0`: protected mode, and the FPU type that is hard-wired to one.
const CR0_PROTECTED: u64 = 0x11;
/// Bit 1 of the flags register is always one.
const FLAGS_FIXED: u64 = 0x2;
/// Segment types: read and execute, accessed; read and write, accessed; busy 32-bit TSS.
const TYPE_CODE: u8 = 0xb;
const TYPE_DATA: u8 = 0x3;
const TYPE_TSS: u8 = 0xb;
/// Least size of a 32-bit task state segment, less one.
const TSS_LIMIT: u32 = 0x67;
/// The FPU's control word and the SSE control register after reset: every exception masked.
const FPU_CONTROL: u16 = 0x37f;
const SSE_CONTROL: u32 = 0x1f80;

/// `IA32_MISC_ENABLE` and its fast string operations.
const MSR_MISC_ENABLE: u32 = 0x1a0;
const FAST_STRINGS: u64 = 1;
/// `IA32_MTRR_DEF_TYPE`: enabled, memory is write-back.
const MSR_MEMORY_TYPE: u32 = 0x2ff;
const WRITE_BACK: u64 = 0x806;

/// Local APIC registers of the two local interrupt inputs.
const LAPIC_LINT0: usize = 0x350;
const LAPIC_LINT1: usize = 0x360;
/// Delivery modes of a local interrupt input: from the 8259, and non-maskable.
const DELIVER_EXTERNAL: u32 = 0x700;
const DELIVER_NMI: u32 = 0x400;

/// Names of `KVM_INTERNAL_ERROR_*` by number.
const INTERNAL_ERRORS: [&str; 5] = [
    "unknown",
    "an instruction that KVM cannot emulate",
    "two exceptions at once",
    "an event could not be delivered",
    "an exit that KVM does not know",
];

/// Why a vCPU could not be made.
#[derive(Debug, thiserror::Error)]
#[error("failed to {operation} of virtual CPU {vcpu}")]
pub struct VcpuError {
    /// Index of the vCPU.
    vcpu: u8,
    /// What we tried.
    operation: &'static str,
    /// What KVM answered.
    #[source]
    source: kvm_ioctls::Error,
}

/// Makes the vCPU, with its CPUID, MSRs, FPU and interrupt inputs as after a reset.
pub(crate) fn create(vm: &VmFd, supported: &CpuId, cpu: Cpu) -> Result<VcpuFd, VcpuError> {
    let failed = |operation| {
        move |source| VcpuError {
            vcpu: cpu.index,
            operation,
            source,
        }
    };
    let vcpu = vm
        .create_vcpu(u64::from(cpu.index))
        .map_err(failed("create the state"))?;
    let answers = cpuid::answers(supported, cpu)
        .map_err(|_full| failed("list the features")(kvm_ioctls::Error::new(nix::libc::E2BIG)))?;
    vcpu.set_cpuid2(&answers)
        .map_err(failed("set the features"))?;
    set_saved_state(&vcpu, supported).map_err(failed("choose the saved state"))?;
    set_model_registers(&vcpu).map_err(failed("set the model-specific registers"))?;
    let fpu = kvm_fpu {
        fcw: FPU_CONTROL,
        mxcsr: SSE_CONTROL,
        ..Default::default()
    };
    vcpu.set_fpu(&fpu).map_err(failed("set the FPU"))?;
    set_local_interrupts(&vcpu).map_err(failed("set the local APIC"))?;
    Ok(vcpu)
}

/// Lets XSAVE save all that it can from the start, where the architecture starts with the FPU only.
///
/// A kernel chooses for itself with XSETBV soon after. But QEMU 7.2's emulation of AMD-V does not
/// pass that instruction on to KVM, which goes on to load its own value at each entry: a guest's
/// tasks would then lose their SSE registers to one another.
pub(crate) fn set_saved_state(vcpu: &VcpuFd, supported: &CpuId) -> Result<(), kvm_ioctls::Error> {
    let Some(components) = cpuid::state_components(supported) else {
        return Ok(());
    };
    let mut registers = kvm_xcrs {
        nr_xcrs: 1,
        ..Default::default()
    };
    registers.xcrs[0] = kvm_xcr {
        value: components,
        ..Default::default()
    };
    vcpu.set_xcrs(&registers)
}

fn set_model_registers(vcpu: &VcpuFd) -> Result<(), kvm_ioctls::Error> {
    let entry = |index, data| kvm_msr_entry {
        index,
        data,
        ..Default::default()
    };
    let registers = [
        entry(MSR_MISC_ENABLE, FAST_STRINGS),
        entry(MSR_MEMORY_TYPE, WRITE_BACK),
    ];
    let registers = Msrs::from_entries(&registers).expect("two entries fit");
    let set = vcpu.set_msrs(&registers)?;
    if set == registers.as_slice().len() {
        Ok(())
    } else {
        // KVM stops at the first register that it refuses, and says no more about it.
        Err(kvm_ioctls::Error::new(nix::libc::EINVAL))
    }
}

fn set_local_interrupts(vcpu: &VcpuFd) -> Result<(), kvm_ioctls::Error> {
    let mut lapic = vcpu.get_lapic()?;
    write_lapic(&mut lapic, LAPIC_LINT0, DELIVER_EXTERNAL);
    write_lapic(&mut lapic, LAPIC_LINT1, DELIVER_NMI);
    vcpu.set_lapic(&lapic)
}

fn write_lapic(lapic: &mut kvm_lapic_state, offset: usize, value: u32) {
    for (register, byte) in lapic.regs[offset..].iter_mut().zip(value.to_le_bytes()) {
        *register = std::ffi::c_char::from_ne_bytes([byte]);
    }
}

/// Puts the boot vCPU where the PVH protocol wants it: 32-bit protected mode, flat segments,
/// paging off, the start info block in `ebx`.
pub(crate) fn set_entry(vcpu: &VcpuFd, entry: u64) -> Result<(), VcpuError> {
    let failed = |operation| {
        move |source| VcpuError {
            vcpu: 0,
            operation,
            source,
        }
    };
    let mut special = vcpu.get_sregs().map_err(failed("read the segments"))?;
    special.cs = flat_segment(TYPE_CODE, 0x8);
    let data = flat_segment(TYPE_DATA, 0x10);
    (special.ds, special.es, special.ss) = (data, data, data);
    (special.fs, special.gs) = (data, data);
    special.tr = kvm_segment {
        limit: TSS_LIMIT,
        selector: 0x18,
        type_: TYPE_TSS,
        present: 1,
        ..Default::default()
    };
    special.cr0 = CR0_PROTECTED;
    (special.cr3, special.cr4, special.efer) = (0, 0, 0);
    vcpu.set_sregs(&special)
        .map_err(failed("set the segments"))?;
    let registers = kvm_regs {
        rip: entry,
        rbx: START_INFO_ADDRESS,
        rflags: FLAGS_FIXED,
        ..Default::default()
    };
    vcpu.set_regs(&registers)
        .map_err(failed("set the registers"))
}

fn flat_segment(kind: u8, selector: u16) -> kvm_segment {
    kvm_segment {
        base: 0,
        limit: u32::MAX,
        selector,
        type_: kind,
        present: 1,
        dpl: 0,
        db: 1,
        s: 1,
        l: 0,
        g: 1,
        ..Default::default()
    }
}

/// Runs the vCPU until the machine ends, on the thread that calls.
///
/// `Ok(None)` where it left because [`Kick::leave`] asked it to.
pub(crate) fn run(
    index: u8,
    vcpu: &mut VcpuFd,
    kick: &Kick,
    platform: &Platform,
) -> Result<Option<Exit>, RunError> {
    kick.arm();
    // Asked at every turn: a KVM may answer the kick with an exit rather than an error.
    while !platform.is_ending() {
        let exit = match vcpu.run() {
            Ok(exit) => exit,
            // The kick or another signal; a CPU that waited for its start-up got it.
            Err(error) if matches!(error.errno(), nix::libc::EINTR | nix::libc::EAGAIN) => continue,
            Err(source) => {
                return Err(RunError::Run {
                    vcpu: index,
                    source,
                });
            }
        };
        match exit {
            VcpuExit::MmioRead(address, data) => platform.read(address, data),
            VcpuExit::MmioWrite(address, data) => platform.write(address, data),
            VcpuExit::IoIn(port, data) => platform.ports().read(port, data),
            VcpuExit::IoOut(port, data) => match platform.ports().write(port, data) {
                Request::None => {}
                Request::End(exit) => return Ok(Some(exit)),
                Request::Reset => return Ok(Some(reset_reason(platform.memory()))),
            },
            VcpuExit::Shutdown => return Ok(Some(Exit::TripleFault)),
            VcpuExit::Intr | VcpuExit::IrqWindowOpen => {}
            VcpuExit::InternalError => return Err(internal_error(index, vcpu)),
            VcpuExit::FailEntry(reason, _cpu) => {
                return Err(RunError::Entry {
                    vcpu: index,
                    reason,
                });
            }
            other => {
                return Err(RunError::Unexpected {
                    vcpu: index,
                    reason: format!("{other:?}"),
                });
            }
        }
    }
    Ok(None)
}

/// What a reset through the keyboard controller was for.
///
/// Linux leaves the BIOS a word at 0x472: with `reboot=panic_warm` it is this value after a panic
/// and zero after an orderly reset.
fn reset_reason(memory: &GuestMemoryMmap) -> Exit {
    /// Where a BIOS finds the reset flag.
    const RESET_FLAG: GuestAddress = GuestAddress(0x472);
    /// A warm reset.
    const WARM: u16 = 0x1234;
    match memory.read_obj::<u16>(RESET_FLAG) {
        Ok(WARM) => Exit::Panic,
        _ => Exit::Reset,
    }
}

fn internal_error(index: u8, vcpu: &mut VcpuFd) -> RunError {
    // SAFETY: KVM fills this variant of the union for the exit that brought us here.
    let suberror = unsafe { vcpu.get_kvm_run().__bindgen_anon_1.internal.suberror };
    let known = usize::try_from(suberror)
        .ok()
        .and_then(|number| INTERNAL_ERRORS.get(number));
    RunError::Internal {
        vcpu: index,
        suberror,
        meaning: known.unwrap_or(&INTERNAL_ERRORS[0]),
    }
}
