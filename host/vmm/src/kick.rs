//! Makes vCPUs leave the guest: a flag that KVM reads before it enters, and a signal that makes
//! it leave if it has entered already.
//!
//! The flag is set first. A vCPU that KVM is about to enter sees it; one that KVM has entered gets
//! the signal. Neither can fall between.

use std::io;
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};

use kvm_ioctls::VcpuFd;
use nix::libc;
use vmm_sys_util::signal::{SIGRTMIN, register_signal_handler};

/// Which vCPU to make leave. Lives next to the vCPU, never longer.
#[derive(Debug)]
pub(crate) struct Kick {
    immediate_exit: *mut u8,
    thread: AtomicI32,
}

// SAFETY: the pointer is only used for atomic accesses, which KVM expects from other threads.
unsafe impl Send for Kick {}
// SAFETY: as above; the rest is atomic.
unsafe impl Sync for Kick {}

extern "C" fn ignore(
    _signal: libc::c_int,
    _info: *mut libc::siginfo_t,
    _context: *mut libc::c_void,
) {
    // Being delivered is all it takes to interrupt KVM_RUN.
}

/// Sets up the signal, for the whole process. Its handler does nothing, so that other uses of the
/// same signal in this process would be lost: there are none.
pub(crate) fn prepare() -> io::Result<()> {
    register_signal_handler(SIGRTMIN(), ignore)
        .map_err(|error| io::Error::from_raw_os_error(error.errno()))
}

impl Kick {
    /// # Safety
    /// `vcpu` must outlive the result: its memory is written by [`Kick::leave`].
    pub(crate) unsafe fn new(vcpu: &mut VcpuFd) -> Self {
        Self {
            immediate_exit: &raw mut vcpu.get_kvm_run().immediate_exit,
            thread: AtomicI32::new(0),
        }
    }

    /// Called on the vCPU's thread before it first enters the guest.
    pub(crate) fn arm(&self) {
        self.thread
            .store(nix::unistd::gettid().as_raw(), Ordering::SeqCst);
    }

    /// Makes the vCPU's next or current `KVM_RUN` return at once, from any thread.
    pub(crate) fn leave(&self) {
        // SAFETY: `new` asked that the vCPU, which this points into, outlive us; all other
        // accesses to the byte are KVM's, which expects it to change under it.
        let flag = unsafe { AtomicU8::from_ptr(self.immediate_exit) };
        flag.store(1, Ordering::SeqCst);
        let thread = self.thread.load(Ordering::SeqCst);
        if thread == 0 {
            return;
        }
        let process = std::process::id();
        let signal = SIGRTMIN();
        // A thread that ended meanwhile is not there to be signalled, which is as well.
        // SAFETY: tgkill reaches threads of this process only, where the handler is set up.
        let _ended = unsafe { libc::syscall(libc::SYS_tgkill, process, thread, signal) };
    }
}
