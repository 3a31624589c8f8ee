//! `clone3` with a stack and an entry point of our choice: the one call that std and glibc do not offer.
//!
//! The child may share the caller's memory ([`Memory::Shared`], as `vfork` does): under User Mode
//! Linux copying the page tables of the agent costs more than everything else a start does. In
//! both modes the calling thread sleeps until the child executes a program or ends, so what the
//! caller owns stays put. The rules for the child are at [`Entry`].

use std::arch::asm;
use std::ffi::c_void;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;

use nix::libc;
use rustix::io::Errno;

/// Bytes of a child's stack; only touched pages cost anything. The deepest call of a child keeps
/// one path buffer (4 KiB) on it.
const STACK_BYTES: usize = 128 * 1024;

/// What a child runs first.
///
/// The child was cloned from one thread of a process with many, whose memory it sees or shares, so
/// until it executes a program it may only: make system calls, read what its argument points to,
/// and write to its own stack and to the record that the argument names. It may not allocate,
/// free, lock, log, panic, or touch any other static or thread-local state.
pub(super) type Entry = unsafe extern "C" fn(*const c_void) -> !;

/// How the child gets its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Memory {
    /// The caller's own, as with `vfork`.
    Shared,
    /// A copy, as with `fork`: for a child that hostile processes could trace before it executes
    /// its program; they would reach into the agent through shared memory.
    Copied,
}

/// Pages shared by the caller and a child: its stack.
#[derive(Debug)]
pub(super) struct Stack {
    base: NonNull<c_void>,
}

// SAFETY: the mapping belongs to this value alone; nothing in it is tied to a thread.
unsafe impl Send for Stack {}

impl Stack {
    /// Maps a new stack.
    pub(super) fn new() -> Result<Self, Errno> {
        let flags = rustix::mm::MapFlags::PRIVATE;
        let protection = rustix::mm::ProtFlags::READ | rustix::mm::ProtFlags::WRITE;
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choice aliases nothing.
        let base = unsafe {
            rustix::mm::mmap_anonymous(std::ptr::null_mut(), STACK_BYTES, protection, flags)
        }?;
        NonNull::new(base)
            .map(|base| Self { base })
            .ok_or(Errno::NOMEM)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: `new` mapped exactly these bytes, and no child runs on them any more: `clone`
        // returns only after the child has left its memory.
        let _unmapped = unsafe { rustix::mm::munmap(self.base.as_ptr(), STACK_BYTES) };
    }
}

/// A child as `clone3` made it.
#[derive(Debug)]
pub(super) struct Child {
    /// Its process id in the caller's namespace.
    pub(super) pid: u32,
    /// A descriptor for it.
    pub(super) pidfd: OwnedFd,
}

/// Clones the calling thread into a new process that runs `entry(argument)`, and sleeps until that
/// process has executed a program or ended.
///
/// # Safety
/// `entry` keeps the rules of [`Entry`], and `argument` is what it expects, valid until the call
/// returns.
pub(super) unsafe fn clone(
    namespaces: u64,
    memory: Memory,
    cgroup: BorrowedFd<'_>,
    stack: &mut Stack,
    (entry, argument): (Entry, *const c_void),
) -> Result<Child, Errno> {
    let mut pidfd: RawFd = -1;
    let mut flags = as_flags(libc::CLONE_VFORK | libc::CLONE_PIDFD)
        | CLONE_CLEAR_SIGHAND
        | CLONE_INTO_CGROUP
        | namespaces;
    if memory == Memory::Shared {
        flags |= as_flags(libc::CLONE_VM);
    }
    let arguments = libc::clone_args {
        flags,
        pidfd: address(&raw mut pidfd),
        child_tid: 0,
        parent_tid: 0,
        exit_signal: as_flags(libc::SIGCHLD),
        stack: address(stack.base.as_ptr()),
        stack_size: STACK_BYTES as u64,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: u64::try_from(cgroup.as_raw_fd()).map_err(|_negative| Errno::BADF)?,
    };
    // SAFETY: the arguments are complete, the stack is mapped and nobody else's; the caller vouches
    // for entry and argument.
    let result = unsafe { clone3(&arguments, entry, argument) };
    let pid = match u32::try_from(result) {
        Ok(pid) => pid,
        Err(_negative) => return Err(Errno::from_raw_os_error(errno_of(result))),
    };
    // SAFETY: the call succeeded with CLONE_PIDFD, so the kernel put a new descriptor there.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Child { pid, pidfd })
}

/// `CLONE_CLEAR_SIGHAND` of `linux/sched.h`: handlers become the default action, so no handler of
/// the caller ever runs in the child.
const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;

/// `CLONE_INTO_CGROUP` of `linux/sched.h`: the child is born in a cgroup.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// A flag of libc's signed type as `clone3` wants it.
fn as_flags(flag: libc::c_int) -> u64 {
    u64::from(flag.cast_unsigned())
}

/// A pointer as `clone3` wants it.
fn address<T>(pointer: *mut T) -> u64 {
    pointer.expose_provenance() as u64
}

/// The error number in the result of a failed system call.
fn errno_of(result: i64) -> i32 {
    i32::try_from(-result).unwrap_or(libc::EINVAL)
}

/// The system call itself: returns in the parent, jumps to `entry` in the child.
///
/// # Safety
/// As for [`clone`]; `arguments.stack` must be writable memory that nothing else uses.
#[cfg(target_arch = "x86_64")]
unsafe fn clone3(arguments: &libc::clone_args, entry: Entry, argument: *const c_void) -> i64 {
    let result: i64;
    // SAFETY: in the parent this is an ordinary system call. In the child every register but rax
    // and rsp is as before, rsp is the (16-byte aligned) top of the given stack, and the call never
    // returns, so nothing of this frame is used there.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r13",
            "call r12",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => result,
            in("rdi") std::ptr::from_ref(arguments),
            in("rsi") size_of::<libc::clone_args>(),
            in("r12") entry,
            in("r13") argument,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}
