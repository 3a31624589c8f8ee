//! How a machine's run ends: by the guest's own doing, or by an error.

use std::io;

/// How the guest ended, all of them orderly for the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The guest wrote to [`POWER_OFF_PORT`](crate::POWER_OFF_PORT).
    PowerOff,
    /// The guest reset the machine through the keyboard controller (`reboot=k`).
    Reset,
    /// The guest's kernel panicked and reset the machine.
    Panic,
    /// A vCPU gave up: three faults within one another, a reset on real hardware.
    TripleFault,
    /// The host asked for the end.
    Stopped,
}

/// Why a machine could not go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The last touches to guest memory before the start failed.
    #[error("failed to prepare the guest's start")]
    Prepare(#[source] crate::boot::BootError),
    /// The event loop could not be set up.
    #[error("failed to watch the descriptors of the machine")]
    Watch(#[source] io::Error),
    /// The event loop could not wait.
    #[error("failed to wait for the machine's events")]
    Wait(#[source] io::Error),
    /// The signal that interrupts vCPUs could not be set up.
    #[error("failed to set up the signal that interrupts virtual CPUs")]
    Signal(#[source] io::Error),
    /// A vCPU's thread could not be started.
    #[error("failed to start the thread of virtual CPU {vcpu}")]
    Thread {
        /// Index of the vCPU.
        vcpu: u8,
        /// What the operating system answered.
        #[source]
        source: io::Error,
    },
    /// `KVM_RUN` itself failed.
    #[error("failed to run virtual CPU {vcpu}")]
    Run {
        /// Index of the vCPU.
        vcpu: u8,
        /// What KVM answered.
        #[source]
        source: kvm_ioctls::Error,
    },
    /// KVM met something that it cannot emulate.
    #[error("KVM gave up on virtual CPU {vcpu}: internal error {suberror} ({meaning})")]
    Internal {
        /// Index of the vCPU.
        vcpu: u8,
        /// KVM's number for it.
        suberror: u32,
        /// KVM's name for it.
        meaning: &'static str,
    },
    /// The processor refused to enter the guest.
    #[error("the processor refused to enter virtual CPU {vcpu}: hardware reason {reason:#x}")]
    Entry {
        /// Index of the vCPU.
        vcpu: u8,
        /// The processor's number for it.
        reason: u64,
    },
    /// KVM left the guest for a reason that this platform never causes.
    #[error("virtual CPU {vcpu} stopped for an unexpected reason: {reason}")]
    Unexpected {
        /// Index of the vCPU.
        vcpu: u8,
        /// KVM's name for the reason.
        reason: String,
    },
    /// A vCPU's thread ended without saying why.
    #[error("the thread of a virtual CPU ended without a reason")]
    Vanished,
}
