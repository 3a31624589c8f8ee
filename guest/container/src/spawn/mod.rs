//! Starts a process from a list of [`Step`]s, with no allocation between `clone3` and `execve`.
//!
//! The usual way is to execute oneself as a small init that reads a plan. Under User Mode Linux
//! that costs an `execve` of the agent and its page faults (37 µs each) per container, so here the
//! child walks the steps in the agent's own memory instead, as a `vfork` child may: system calls
//! only, no allocation, nobody else's state. What it needs was resolved by the parent.
//!
//! ```text
//! parent   steps → clone3(CLONE_VM | CLONE_VFORK | namespaces | cgroup) ──sleeps──► outcome
//! child            step, step, … execve ───► program     (or: record which step failed, exit)
//! ```

mod clone;
mod perform;
pub(crate) mod step;

use std::ffi::c_void;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use nix::libc;
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

pub(crate) use self::step::{Program, Step};

/// Why a process could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// No memory for the child's stack.
    #[error("failed to map a stack for the new process")]
    Stack(#[source] Errno),
    /// The kernel made no process.
    #[error("failed to create a process")]
    Clone(#[source] Errno),
    /// The pid namespace cannot be entered.
    #[error("failed to enter the container's pid namespace")]
    EnterPidNamespace(#[source] Errno),
    /// A step failed.
    #[error("failed to {what}")]
    Step {
        /// What the step tried.
        what: String,
        /// Why it failed.
        #[source]
        errno: Errno,
    },
    /// The program could not be executed.
    #[error("failed to execute the program")]
    Execute(#[source] Errno),
    /// The child was killed before it executed its program.
    #[error("the new process was killed while it was set up, too little memory perhaps")]
    Killed,
}

/// What to start, and where.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    /// What the child does; the last step executes the program.
    pub(crate) steps: &'a [Step],
    /// `CLONE_NEW…` flags.
    pub(crate) namespaces: u64,
    /// The cgroup that the child is born in.
    pub(crate) cgroup: BorrowedFd<'a>,
    /// Whether processes that may trace the child see it before it executes its program: then it
    /// gets a copy of our memory, not a share.
    pub(crate) exposed: bool,
}

/// A started process.
#[derive(Debug)]
pub(crate) struct Spawned {
    /// Its process id on this machine.
    pub(crate) pid: u32,
    /// A descriptor for it.
    pub(crate) pidfd: OwnedFd,
}

/// Starts a process, and sleeps until it has executed its program.
///
/// Where it fails, no process is left.
pub(crate) fn spawn(plan: &Plan<'_>) -> Result<Spawned, SpawnError> {
    let mut stack = clone::Stack::new().map_err(SpawnError::Stack)?;
    let record = Record::new().map_err(SpawnError::Stack)?;
    let context = Context {
        steps: plan.steps,
        record: record.get(),
    };
    let memory = if plan.exposed {
        clone::Memory::Copied
    } else {
        clone::Memory::Shared
    };
    let argument = std::ptr::from_ref(&context).cast::<c_void>();
    // SAFETY: `child` keeps the rules of `Entry`; the context outlives the call, during which this
    // thread sleeps.
    let cloned = unsafe {
        clone::clone(
            plan.namespaces,
            memory,
            plan.cgroup,
            &mut stack,
            (child, argument),
        )
    };
    let process = cloned.map_err(SpawnError::Clone)?;
    match failure(record.get(), plan.steps) {
        None => Ok(Spawned {
            pid: process.pid,
            pidfd: process.pidfd,
        }),
        Some(error) => {
            reap(&process);
            Err(error)
        }
    }
}

/// Waits for a child that has failed; whoever reaps first, it is gone afterwards.
fn reap(process: &clone::Child) {
    let id = rustix::process::WaitId::PidFd(std::os::fd::AsFd::as_fd(&process.pidfd));
    let options = rustix::process::WaitIdOptions::EXITED;
    while matches!(
        rustix::process::waitid(id.clone(), options),
        Err(Errno::INTR)
    ) {}
}

/// What the record says about a child that has left our memory.
fn failure(record: &Outcome, steps: &[Step]) -> Option<SpawnError> {
    let index = usize::try_from(record.step.load(Ordering::Acquire)).unwrap_or(usize::MAX);
    let number = record.errno.load(Ordering::Acquire);
    let executing = index + 1 == steps.len();
    match (number, steps.get(index)) {
        (0, _) if executing => None,
        (0, _) | (_, None) => Some(SpawnError::Killed),
        (number, Some(_)) if executing => {
            Some(SpawnError::Execute(Errno::from_raw_os_error(number)))
        }
        (number, Some(step)) => Some(SpawnError::Step {
            what: step.describe(),
            errno: Errno::from_raw_os_error(number),
        }),
    }
}

/// How far the child got: written by the child, read by the parent when the child has left.
#[derive(Debug)]
struct Outcome {
    /// The step at work.
    step: AtomicU32,
    /// Why it failed, or 0.
    errno: AtomicI32,
}

/// An [`Outcome`] in memory that both see, whether the child shares or copies the rest.
#[derive(Debug)]
struct Record(std::ptr::NonNull<Outcome>);

impl Record {
    fn new() -> Result<Self, Errno> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choice aliases nothing.
        let page = unsafe {
            rustix::mm::mmap_anonymous(
                std::ptr::null_mut(),
                size_of::<Outcome>(),
                protection,
                MapFlags::SHARED,
            )
        }?;
        std::ptr::NonNull::new(page.cast())
            .map(Self)
            .ok_or(Errno::NOMEM)
    }

    fn get(&self) -> &Outcome {
        // SAFETY: the page is mapped, aligned, zeroed (valid for both atomics) and lives as long as
        // this value.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        // SAFETY: `new` mapped exactly these bytes; no reference outlives `self`.
        let _unmapped = unsafe { rustix::mm::munmap(self.0.as_ptr().cast(), size_of::<Outcome>()) };
    }
}

/// What the child gets.
struct Context<'a> {
    steps: &'a [Step],
    record: &'a Outcome,
}

/// The child: walks the steps. See [`clone::Entry`] for what it may do.
///
/// # Safety
/// `argument` points to a [`Context`].
unsafe extern "C" fn child(argument: *const c_void) -> ! {
    // SAFETY: `spawn` passed a context that lives until the child has left its memory.
    let context = unsafe { &*argument.cast::<Context<'_>>() };
    for (step, index) in context.steps.iter().zip(0_u32..) {
        context.record.step.store(index, Ordering::Release);
        if let Err(errno) = step.perform() {
            context
                .record
                .errno
                .store(errno.raw_os_error(), Ordering::Release);
            break;
        }
    }
    loop {
        // SAFETY: ends this process; nothing of it is left to be unsound.
        unsafe { libc::syscall(libc::SYS_exit_group, SETUP_FAILED_CODE) };
    }
}

/// The exit code of a child that failed; nobody looks at it.
const SETUP_FAILED_CODE: libc::c_int = 1;
