//! A machine: built from its description, given devices, run to its end.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::thread;

use dhow_virtio::VirtioDevice;
use kvm_bindings::{KVM_MAX_CPUID_ENTRIES, KVM_PIT_SPEAKER_DUMMY, kvm_pit_config};
use kvm_ioctls::{Cap, Kvm, VcpuFd, VmFd};
use vm_memory::GuestMemoryMmap;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::boot::{self, BootError, Loaded};
use crate::config::{ConfigError, PLATFORM_COMMAND_LINE, VmConfig};
use crate::cpuid::Cpu;
use crate::exit::{Exit, RunError};
use crate::kick::{self, Kick};
use crate::layout::{SERIAL_LINE, TSS_ADDRESS};
use crate::memory::{self, Mapping, MemoryError};
use crate::mmio::slot::Slot;
use crate::mmio::{self, AttachError};
use crate::mptable;
use crate::platform::{Platform, Wakeup};
use crate::ports::Ports;
use crate::vcpu::{self, VcpuError};

/// Why a machine could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The description makes no sense.
    #[error("the machine's description is wrong")]
    Config(#[from] ConfigError),
    /// KVM is not there, or refused something a machine needs.
    #[error("failed to {operation}")]
    Kvm {
        /// What we tried.
        operation: &'static str,
        /// What KVM answered.
        #[source]
        source: kvm_ioctls::Error,
    },
    /// Guest memory could not be made.
    #[error("failed to make guest memory")]
    Memory(#[from] MemoryError),
    /// The kernel or initramfs could not be put in place.
    #[error("failed to load the guest")]
    Boot(#[from] BootError),
    /// The thread that loads the guest panicked.
    #[error("the thread that loads the guest ended by itself")]
    LoaderVanished,
    /// The table of processors could not be written.
    #[error("failed to write the MP table")]
    MpTable(#[source] vm_memory::GuestMemoryError),
    /// A vCPU could not be made.
    #[error("failed to make the virtual CPUs")]
    Vcpu(#[from] VcpuError),
    /// The serial port's interrupt could not be made.
    #[error("failed to make the serial port")]
    Serial(#[source] io::Error),
}

/// A machine that has not started.
#[derive(Debug)]
pub struct Vm {
    // Dropped in this order: the vCPUs and the machine before the memory that KVM uses.
    vcpus: Vec<VcpuFd>,
    vm: VmFd,
    slots: Vec<Slot>,
    ports: Ports,
    memory: GuestMemoryMmap,
    loaded: Loaded,
    command_line: String,
    // Last: the memory lies in them.
    _mappings: Vec<Mapping>,
}

impl Vm {
    /// Builds the machine and loads its kernel.
    ///
    /// # Errors
    /// [`BuildError`] says which step the host or the description made impossible.
    pub fn new(config: &VmConfig) -> Result<Self, BuildError> {
        config.check()?;
        let (memory, mappings) = memory::map(config.memory_bytes)?;
        // Copying the kernel and waiting for KVM take about as long as each other.
        let (loaded, built) = thread::scope(|scope| {
            let loading =
                scope.spawn(|| boot::load(&memory, &config.kernel, config.initramfs.as_deref()));
            let built = build_processors(&memory, config.vcpus);
            (loading.join(), built)
        });
        let loaded = loaded.map_err(|_panic| BuildError::LoaderVanished)??;
        let (vm, vcpus) = built?;
        mptable::write(&memory, config.vcpus).map_err(BuildError::MpTable)?;
        vcpu::set_entry(&vcpus[0], loaded.entry)?;
        let ports = create_ports(&vm, config)?;
        Ok(Self {
            vcpus,
            vm,
            slots: Vec::new(),
            ports,
            memory,
            loaded,
            command_line: format!("{} {PLATFORM_COMMAND_LINE}", config.command_line),
            _mappings: mappings,
        })
    }

    /// Attaches a device, whichever it is: it gets a register window, an interrupt line and a
    /// place on the kernel's command line, in the order of the calls.
    ///
    /// # Errors
    /// [`AttachError`] where lines or descriptors have run out, or KVM refuses.
    pub fn attach(&mut self, device: Box<dyn VirtioDevice>) -> Result<(), AttachError> {
        let index = self.slots.len();
        let slot = mmio::attach(&self.vm, index, device)?;
        self.slots.push(slot);
        self.command_line.push_str(&mmio::command_line(index));
        Ok(())
    }

    /// Runs the machine until the guest ends it or `stop` becomes readable.
    ///
    /// Blocks: this thread drives the devices, others that it starts and joins run the vCPUs.
    ///
    /// # Errors
    /// [`RunError`] where the host cannot go on; the machine is gone then, too.
    pub fn run(self, stop: impl AsFd) -> Result<Exit, RunError> {
        boot::write_start_info(&self.memory, self.loaded, &self.command_line)
            .map_err(RunError::Prepare)?;
        kick::prepare().map_err(RunError::Signal)?;
        let mut vcpus = self.vcpus;
        let platform =
            Platform::new(self.memory, self.ports, self.slots).map_err(RunError::Watch)?;
        let done = EventFd::new(EFD_NONBLOCK).map_err(RunError::Watch)?;
        // SAFETY: `done` stays open to the end of this function, and so longer than its watch.
        let done_fd = unsafe { BorrowedFd::borrow_raw(done.as_raw_fd()) };
        platform
            .watch_for(stop.as_fd(), Wakeup::Stop)
            .map_err(RunError::Watch)?;
        platform
            .watch_for(done_fd, Wakeup::VcpuDone)
            .map_err(RunError::Watch)?;
        let result = run_threads(&mut vcpus, &platform, &done);
        platform.report();
        result
    }
}

/// Signals the end of a vCPU's thread even if that thread panics.
struct Done<'a>(&'a EventFd);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        // The counter cannot be full: it is written once a thread.
        let _written = self.0.write(1);
    }
}

fn run_threads(
    vcpus: &mut [VcpuFd],
    platform: &Platform,
    done: &EventFd,
) -> Result<Exit, RunError> {
    let kicks: Vec<Kick> = vcpus
        .iter_mut()
        // SAFETY: the vCPUs are borrowed for longer than this function, where the kicks stay.
        .map(|vcpu| unsafe { Kick::new(vcpu) })
        .collect();
    thread::scope(|scope| {
        let mut threads = Vec::with_capacity(kicks.len());
        let mut started = Ok(());
        for ((index, vcpu), kick) in (0u8..).zip(vcpus.iter_mut()).zip(&kicks) {
            let body = move || {
                let _done = Done(done);
                vcpu::run(index, vcpu, kick, platform)
            };
            let thread = thread::Builder::new().name(format!("vcpu{index}"));
            match thread.spawn_scoped(scope, body) {
                Ok(thread) => threads.push(thread),
                Err(source) => {
                    started = Err(RunError::Thread {
                        vcpu: index,
                        source,
                    });
                    break;
                }
            }
        }
        let wakeup = started.and_then(|()| platform.serve().map_err(RunError::Wait));
        platform.end();
        for kick in &kicks {
            kick.leave();
        }
        let ends: Vec<_> = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or(Err(RunError::Vanished)))
            .collect();
        match wakeup? {
            Wakeup::Stop => Ok(Exit::Stopped),
            Wakeup::VcpuDone => first_end(ends),
        }
    })
}

/// The end that a vCPU came to by itself: the guest's word first, then what went wrong.
fn first_end(ends: Vec<Result<Option<Exit>, RunError>>) -> Result<Exit, RunError> {
    let mut failure = RunError::Vanished;
    for end in ends {
        match end {
            Ok(Some(exit)) => return Ok(exit),
            Ok(None) => {}
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Makes the machine with its memory and its vCPUs.
fn build_processors(
    memory: &GuestMemoryMmap,
    count: u8,
) -> Result<(VmFd, Vec<VcpuFd>), BuildError> {
    let kvm = Kvm::new().map_err(|source| BuildError::Kvm {
        operation: "open /dev/kvm",
        source,
    })?;
    let vm = create_machine(&kvm)?;
    memory::give_to_kvm(&vm, memory)?;
    let vcpus = create_vcpus(&kvm, &vm, count)?;
    Ok((vm, vcpus))
}

/// Makes the machine with KVM's own interrupt controllers and timer.
fn create_machine(kvm: &Kvm) -> Result<VmFd, BuildError> {
    let failed = |operation| move |source| BuildError::Kvm { operation, source };
    let vm = kvm
        .create_vm()
        .map_err(failed("create a virtual machine"))?;
    vm.set_tss_address(TSS_ADDRESS)
        .map_err(failed("place the task state segment"))?;
    vm.create_irq_chip()
        .map_err(failed("create the interrupt controllers"))?;
    // With the dummy speaker, port 0x61 is KVM's, which Linux polls while it measures the TSC.
    let timer = kvm_pit_config {
        flags: KVM_PIT_SPEAKER_DUMMY,
        ..Default::default()
    };
    vm.create_pit2(timer)
        .map_err(failed("create the interval timer"))?;
    Ok(vm)
}

fn create_vcpus(kvm: &Kvm, vm: &VmFd, count: u8) -> Result<Vec<VcpuFd>, BuildError> {
    let supported = kvm
        .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
        .map_err(|source| BuildError::Kvm {
            operation: "ask for the CPU features that KVM supports",
            source,
        })?;
    let tsc_deadline = kvm.check_extension(Cap::TscDeadlineTimer);
    (0..count)
        .map(|index| {
            let cpu = Cpu {
                index,
                count,
                tsc_deadline,
            };
            Ok(vcpu::create(vm, &supported, cpu)?)
        })
        .collect()
}

fn create_ports(vm: &VmFd, config: &VmConfig) -> Result<Ports, BuildError> {
    let console = config
        .console
        .as_ref()
        .map(|file| file.try_clone())
        .transpose()
        .map_err(BuildError::Serial)?;
    let line = EventFd::new(EFD_NONBLOCK).map_err(BuildError::Serial)?;
    vm.register_irqfd(&line, SERIAL_LINE)
        .map_err(|source| BuildError::Kvm {
            operation: "connect the serial port's interrupt",
            source,
        })?;
    Ok(Ports::new(console, line))
}
