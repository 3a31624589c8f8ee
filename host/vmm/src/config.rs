//! What a machine is made of, checked before anything is built.

use std::fs::File;
use std::path::PathBuf;

use crate::layout::{COMMAND_LINE_MAX_BYTES, MAX_VCPUS};

/// What the VMM's own platform asks of Linux, added to every command line: reset through the
/// keyboard controller, and at once after a panic, told from an orderly reset by the warm flag
/// that a BIOS would read (`reboot=` in the kernel's list of parameters).
///
/// `noreplace-smp`: a kernel that finds one CPU takes the lock prefixes out of its own code, each
/// of some 8,000 places through a temporary address space. That was an eighth of a start; an
/// uncontended prefix costs a few nanoseconds where it is executed. With more CPUs nothing changes.
pub const PLATFORM_COMMAND_LINE: &str = "reboot=k,panic_warm panic=-1 noreplace-smp";

/// Least guest memory: a kernel and an initramfs do not fit less.
const MIN_MEMORY_BYTES: u64 = 1 << 20;
/// Most guest memory: a terabyte, well inside every host's physical address width.
const MAX_MEMORY_BYTES: u64 = 1 << 40;

/// What a machine is made of.
#[derive(Debug)]
pub struct VmConfig {
    /// An uncompressed x86-64 ELF kernel with a PVH entry note.
    pub kernel: PathBuf,
    /// An initramfs to hand to the kernel.
    pub initramfs: Option<PathBuf>,
    /// The kernel command line; [`PLATFORM_COMMAND_LINE`] and the devices are added to it.
    pub command_line: String,
    /// Guest memory in bytes, a multiple of a page.
    pub memory_bytes: u64,
    /// Number of virtual CPUs.
    pub vcpus: u8,
    /// Where the serial port's output goes: the kernel's messages.
    pub console: Option<File>,
}

/// What is wrong with a [`VmConfig`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Too little, too much or not whole pages.
    #[error(
        "guest memory of {bytes} bytes is not a multiple of 4096 between {MIN_MEMORY_BYTES} and \
         {MAX_MEMORY_BYTES}"
    )]
    Memory {
        /// What was asked for.
        bytes: u64,
    },
    /// None, or more than the platform can describe.
    #[error("{vcpus} virtual CPUs are not between 1 and {MAX_VCPUS}")]
    Vcpus {
        /// What was asked for.
        vcpus: u8,
    },
    /// Longer than Linux reads, or with a zero byte in it.
    #[error(
        "a command line of {length} bytes is longer than {COMMAND_LINE_MAX_BYTES} or holds a zero byte"
    )]
    CommandLine {
        /// Its length with what the VMM adds.
        length: usize,
    },
}

impl VmConfig {
    /// Checks what can be checked without a host.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let bytes = self.memory_bytes;
        if !(MIN_MEMORY_BYTES..=MAX_MEMORY_BYTES).contains(&bytes) || !bytes.is_multiple_of(4096) {
            return Err(ConfigError::Memory { bytes });
        }
        if self.vcpus == 0 || self.vcpus > MAX_VCPUS {
            return Err(ConfigError::Vcpus { vcpus: self.vcpus });
        }
        check_command_line(&self.command_line)
    }
}

/// Checks that Linux will read all of `line`.
pub(crate) fn check_command_line(line: &str) -> Result<(), ConfigError> {
    if line.len() >= COMMAND_LINE_MAX_BYTES || line.contains('\0') {
        return Err(ConfigError::CommandLine { length: line.len() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> VmConfig {
        VmConfig {
            kernel: PathBuf::from("vmlinux"),
            initramfs: None,
            command_line: String::new(),
            memory_bytes: 64 << 20,
            vcpus: 2,
            console: None,
        }
    }

    #[test]
    fn accepts_an_ordinary_machine() {
        assert_eq!(config().check(), Ok(()));
    }

    #[test]
    fn refuses_memory_that_is_not_whole_pages() {
        let config = VmConfig {
            memory_bytes: (64 << 20) + 1,
            ..config()
        };

        assert_eq!(
            config.check(),
            Err(ConfigError::Memory {
                bytes: (64 << 20) + 1
            })
        );
    }

    #[test]
    fn refuses_a_machine_without_a_cpu() {
        let config = VmConfig {
            vcpus: 0,
            ..config()
        };

        assert_eq!(config.check(), Err(ConfigError::Vcpus { vcpus: 0 }));
    }

    #[test]
    fn refuses_a_command_line_that_linux_would_cut() {
        let config = VmConfig {
            command_line: "x".repeat(2048),
            ..config()
        };

        assert_eq!(
            config.check(),
            Err(ConfigError::CommandLine { length: 2048 })
        );
    }
}
