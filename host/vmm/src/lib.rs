//! A virtual machine monitor on KVM for dhow's microVM.
//!
//! [`probe`] finds out whether this host's KVM runs a stock kernel at all. [`Vm::new`] builds a
//! machine from a [`VmConfig`], [`Vm::attach`] gives it any [`dhow_virtio::VirtioDevice`], and
//! [`Vm::run`] runs it until the guest ends it ([`Exit`]) or the caller does.
//!
//! Rule: what the guest can reach (ports, registers, rings) never panics, never blocks and has a
//! bound; what the host lacks is an error with its cause.
//!
//! - `boot`, `mptable`, `cpuid`, `layout`: what the guest finds when it starts
//! - `vm`, `vcpu`, `kick`, `platform`: building, running and ending it
//! - `ports`, `mmio`: what its exits reach
//! - `probe`: a guest of a few instructions that must finish in time

mod boot;
mod config;
mod cpuid;
mod exit;
mod kick;
mod layout;
mod memory;
mod mmio;
mod mptable;
mod platform;
mod ports;
mod probe;
mod vcpu;
mod vm;

pub use boot::BootError;
pub use config::{ConfigError, PLATFORM_COMMAND_LINE, VmConfig};
pub use exit::{Exit, RunError};
pub use memory::MemoryError;
pub use mmio::AttachError;
pub use ports::POWER_OFF_PORT;
pub use probe::{KvmFacts, NoPermission, ProbeError, Unusable, probe};
pub use vcpu::VcpuError;
pub use vm::{BuildError, Vm};
