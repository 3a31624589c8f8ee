//! How the child does each [`Step`].
//!
//! Everything here runs between `clone3` and `execve` in memory that may be shared with the agent,
//! under the rules of [`Entry`](super::clone::Entry): system calls only. rustix makes them without
//! libc here, takes C strings as they are, and allocates nothing.

use std::ffi::{CStr, c_int, c_ulong, c_void};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::libc;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, MoveMountFlags, UnmountFlags};
use rustix::process::{Gid, Uid};
use rustix::thread::{CapabilitySets, UnshareFlags};

use super::step::{Program, Step};

/// Bytes of the longest path the kernel takes, with its end.
const PATH_BYTES: usize = 4096;

/// The permissions of directories made on the way to a mount.
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o755);

impl Step {
    /// Does the step. Only for the child.
    pub(super) fn perform(&self) -> Result<(), Errno> {
        match self {
            Self::NewSession => rustix::process::setsid().map(drop),
            Self::Stdio(descriptors) => stdio(descriptors),
            Self::ControllingTerminal => {
                // SAFETY: descriptor 0 was put in place by the step before and stays open.
                let input = unsafe { BorrowedFd::borrow_raw(libc::STDIN_FILENO) };
                rustix::process::ioctl_tiocsctty(input)
            }
            Self::OomScore(value) => write_file(c"/proc/self/oom_score_adj", value),
            Self::NewCgroupNamespace => new_cgroup_namespace(),
            Self::JoinProcess(process, kinds) => {
                rustix::thread::move_into_thread_name_spaces(process.as_fd(), *kinds)
            }
            Self::JoinNamespace(file, kind) => {
                rustix::thread::move_into_link_name_space(file.as_fd(), Some(*kind))
            }
            Self::PrivateMounts => rustix::mount::mount_change(
                c"/",
                MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
            ),
            Self::EnterRoot { root, at } => enter_root(root.as_fd(), at),
            Self::Limit(resource, limit) => rustix::process::setrlimit(*resource, *limit),
            Self::WorkingDirectory(path) => working_directory(path),
            Self::DropBounding(mask) => drop_bounding(*mask),
            Self::User { uid, gid, groups } => become_user(*uid, *gid, groups),
            Self::Capabilities { sets, ambient } => capabilities(*sets, *ambient),
            Self::Umask(mask) => {
                rustix::process::umask(Mode::from_raw_mode(*mask));
                Ok(())
            }
            Self::NoNewPrivileges => rustix::thread::set_no_new_privs(true),
            Self::Seccomp { filter, flags } => install_filter(filter, *flags),
            Self::Execute(program) => Err(execute(program)),
            _ => self.perform_inside(),
        }
    }

    /// The steps that shape what the container sees, once its root is the root.
    fn perform_inside(&self) -> Result<(), Errno> {
        match self {
            Self::Mount {
                source,
                target,
                kind,
                flags,
                data,
                optional,
            } => {
                let mount = || {
                    rustix::mount::mount(
                        source.as_c_str(),
                        target.as_c_str(),
                        kind.as_c_str(),
                        *flags,
                        data.as_c_str(),
                    )
                };
                match making_target(target, true, mount) {
                    Err(Errno::NODEV) if *optional => Ok(()),
                    result => result,
                }
            }
            Self::Attach {
                tree,
                target,
                directory,
            } => making_target(target, *directory, || attach(tree.as_fd(), target)),
            Self::BindFile { source, target } => making_target(target, false, || {
                rustix::mount::mount_bind(source.as_c_str(), target.as_c_str())
            }),
            Self::Device {
                path,
                mode,
                device,
                owner,
            } => make_device(path, *mode, *device, *owner),
            Self::Symlink { content, path } => symlink(content, path),
            Self::Mask(path) => mask(path),
            Self::ReadOnly(path) => read_only(path),
            Self::ReadOnlyRoot => {
                rustix::mount::mount_remount(c"/", MountFlags::BIND | MountFlags::RDONLY, c"")
            }
            Self::RootPropagation(flags) => rustix::mount::mount_change(c"/", *flags),
            Self::Sysctl { path, value } => write_file(path, value),
            Self::HostName(name) => rustix::system::sethostname(name.to_bytes()),
            Self::DomainName(name) => rustix::system::setdomainname(name.to_bytes()),
            Self::Loopback => loopback(),
            _ => Err(Errno::INVAL),
        }
    }
}

/// Puts three descriptors at 0, 1 and 2. The parent made sure that none of them is below 3.
fn stdio(descriptors: &[OwnedFd; 3]) -> Result<(), Errno> {
    for (source, target) in descriptors.iter().zip(0..) {
        dup_to(source.as_fd(), target)?;
    }
    Ok(())
}

/// `dup2`: the new descriptor survives `execve`.
fn dup_to(source: BorrowedFd<'_>, target: c_int) -> Result<(), Errno> {
    // SAFETY: the call touches no memory; what was at `target` is the child's own copy.
    let result = unsafe { libc::syscall(libc::SYS_dup3, source.as_raw_fd(), target, 0) };
    checked(result)
}

/// The error of a raw system call. `errno` is the calling thread's, which sleeps.
fn checked(result: libc::c_long) -> Result<(), Errno> {
    if result == -1 {
        Err(Errno::from_raw_os_error(nix::errno::Errno::last_raw()))
    } else {
        Ok(())
    }
}

/// Starts a cgroup namespace.
fn new_cgroup_namespace() -> Result<(), Errno> {
    // SAFETY: only descriptors could be pulled from under somebody, and they are not unshared.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWCGROUP) }
}

/// Makes a detached mount the root; the old root and everything below it goes.
fn enter_root(root: BorrowedFd<'_>, at: &CStr) -> Result<(), Errno> {
    rustix::mount::move_mount(root, c"", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    rustix::process::fchdir(root)?;
    // pivot_root(2), "pivot_root(".", ".")": the old root ends up on top of the new one.
    rustix::process::pivot_root(c".", c".")?;
    rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
    rustix::process::chdir(c"/")
}

/// Mounts a detached tree at a path.
fn attach(tree: BorrowedFd<'_>, target: &CStr) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS;
    rustix::mount::move_mount(tree, c"", CWD, target, flags)
}

/// Mounts at a target, which is made where it turns out to be missing: most are there, and asking
/// first would cost a system call each.
fn making_target(
    target: &CStr,
    directory: bool,
    mount: impl Fn() -> Result<(), Errno>,
) -> Result<(), Errno> {
    match mount() {
        Err(Errno::NOENT) => {}
        result => return result,
    }
    if directory {
        make_directories(target, true)?;
    } else {
        make_directories(target, false)?;
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
        drop(rustix::fs::openat(
            CWD,
            target,
            flags,
            Mode::from_raw_mode(0o644),
        )?);
    }
    mount()
}

/// Makes the directories of a path, with or without its last component.
fn make_directories(path: &CStr, last: bool) -> Result<(), Errno> {
    let mut buffer = [0_u8; PATH_BYTES];
    let bytes = path.to_bytes();
    let copy = buffer.get_mut(..bytes.len()).ok_or(Errno::NAMETOOLONG)?;
    copy.copy_from_slice(bytes);
    for end in 1..=bytes.len() {
        let ends_component = bytes.get(end).is_none_or(|byte| *byte == b'/');
        if !ends_component || (end == bytes.len() && !last) {
            continue;
        }
        let Some(separator) = buffer.get_mut(end) else {
            return Err(Errno::NAMETOOLONG);
        };
        let kept = std::mem::replace(separator, 0);
        let prefix = CStr::from_bytes_until_nul(&buffer).map_err(|_endless| Errno::INVAL)?;
        match rustix::fs::mkdirat(CWD, prefix, DIRECTORY_MODE) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        if let Some(separator) = buffer.get_mut(end) {
            *separator = kept;
        }
    }
    Ok(())
}

/// Makes a device node; one that is there stays.
fn make_device(
    path: &CStr,
    mode: u32,
    device: u64,
    owner: Option<(Uid, Gid)>,
) -> Result<(), Errno> {
    let kind = FileType::from_raw_mode(mode);
    let permissions = Mode::from_raw_mode(mode);
    let make = || rustix::fs::mknodat(CWD, path, kind, permissions, device);
    let made = match make() {
        Err(Errno::NOENT) => make_directories(path, false).and_then(|()| make()),
        result => result,
    };
    match made {
        Ok(()) => {}
        Err(Errno::EXIST) => return Ok(()),
        Err(error) => return Err(error),
    }
    match owner {
        Some((uid, gid)) => {
            rustix::fs::chownat(CWD, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
        }
        None => Ok(()),
    }
}

/// Makes a symbolic link in place of what is there.
fn symlink(content: &CStr, path: &CStr) -> Result<(), Errno> {
    match rustix::fs::symlinkat(content, CWD, path) {
        Err(Errno::EXIST) => {
            rustix::fs::unlinkat(CWD, path, AtFlags::empty())?;
            rustix::fs::symlinkat(content, CWD, path)
        }
        result => result,
    }
}

/// Hides a path: a file behind `/dev/null`, a directory behind an empty read-only tmpfs.
fn mask(path: &CStr) -> Result<(), Errno> {
    match rustix::mount::mount_bind(c"/dev/null", path) {
        Err(Errno::NOTDIR) => {
            rustix::mount::mount(c"tmpfs", path, c"tmpfs", MountFlags::RDONLY, c"size=0k")
        }
        Err(Errno::NOENT) => Ok(()),
        result => result,
    }
}

/// Mounts a path over itself, read-only.
fn read_only(path: &CStr) -> Result<(), Errno> {
    match rustix::mount::mount_bind_recursive(path, path) {
        Err(Errno::NOENT) => return Ok(()),
        result => result?,
    }
    let flags = MountFlags::BIND
        | MountFlags::RDONLY
        | MountFlags::NOSUID
        | MountFlags::NODEV
        | MountFlags::NOEXEC;
    rustix::mount::mount_remount(path, flags, c"")
}

/// Writes a value to a file of the kernel's.
fn write_file(path: &CStr, value: &CStr) -> Result<(), Errno> {
    let file = rustix::fs::openat(CWD, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, value.to_bytes()).map(drop)
}

/// Brings `lo` up; the kernel gives it 127.0.0.1 and ::1 then.
fn loopback() -> Result<(), Errno> {
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: all fields are plain data, for which zeroes are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (target, source) in request.ifr_name.iter_mut().zip(c"lo".to_bytes()) {
        *target = source.cast_signed();
    }
    request.ifr_ifru.ifru_flags = LOOPBACK_FLAGS;
    let request = std::ptr::from_ref(&request);
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which lives on this stack.
    let result = unsafe {
        libc::syscall(
            libc::SYS_ioctl,
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS,
            request,
        )
    };
    checked(result)
}

/// `IFF_UP | IFF_RUNNING` in the width of `ifreq`.
const LOOPBACK_FLAGS: libc::c_short = 0x41;

/// Changes to the working directory, as root: Docker makes it where missing and lets a user start
/// in a directory that is closed to them.
fn working_directory(path: &CStr) -> Result<(), Errno> {
    match rustix::process::chdir(path) {
        Err(Errno::NOENT) => {
            make_directories(path, true)?;
            rustix::process::chdir(path)
        }
        result => result,
    }
}

/// Drops each capability of the mask from the bounding set.
fn drop_bounding(mask: u64) -> Result<(), Errno> {
    let mut left = mask;
    while left != 0 {
        let number = left.trailing_zeros();
        prctl(libc::PR_CAPBSET_DROP, c_ulong::from(number), 0)?;
        left &= left - 1;
    }
    Ok(())
}

/// `prctl` with up to two further arguments.
fn prctl(option: c_int, first: c_ulong, second: c_ulong) -> Result<(), Errno> {
    // SAFETY: the options used here take numbers only.
    let result = unsafe { libc::syscall(libc::SYS_prctl, option, first, second, 0, 0) };
    checked(result)
}

/// Sets groups, group and user of this process alone, keeping capabilities over the change.
fn become_user(uid: Uid, gid: Gid, groups: &[Gid]) -> Result<(), Errno> {
    rustix::thread::set_keep_capabilities(true)?;
    rustix::thread::set_thread_groups(groups)?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)
}

/// Sets the capability sets.
fn capabilities(sets: CapabilitySets, ambient: u64) -> Result<(), Errno> {
    rustix::thread::set_capabilities(None, sets)?;
    let mut left = ambient;
    while left != 0 {
        let number = left.trailing_zeros();
        prctl(
            libc::PR_CAP_AMBIENT,
            PR_CAP_AMBIENT_RAISE,
            c_ulong::from(number),
        )?;
        left &= left - 1;
    }
    Ok(())
}

/// `PR_CAP_AMBIENT_RAISE` of `linux/prctl.h`.
const PR_CAP_AMBIENT_RAISE: c_ulong = 2;

/// Installs a seccomp filter.
fn install_filter(filter: &[libc::sock_filter], flags: u64) -> Result<(), Errno> {
    let length = libc::c_ushort::try_from(filter.len()).map_err(|_long| Errno::INVAL)?;
    let program = libc::sock_fprog {
        len: length,
        filter: filter.as_ptr().cast_mut(),
    };
    let operation = c_ulong::from(libc::SECCOMP_SET_MODE_FILTER);
    let program = std::ptr::from_ref(&program);
    // SAFETY: the kernel reads `len` instructions from a live slice of that length.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, operation, flags, program) };
    checked(result)
}

/// Executes a program; returns only on failure. As `execvp` does, a candidate that may not be
/// executed is remembered, and the search goes on.
fn execute(program: &Program) -> Errno {
    // Our own init takes signals with sigwait. One that came before it had blocked them would be lost:
    // the kernel drops what process 1 of a namespace has no handler for, unless it is blocked.
    let blocked = if program.executable().is_some() {
        ALL_SIGNALS
    } else {
        NO_SIGNALS
    };
    if let Err(error) = forget_the_agents_signals_and_files(blocked) {
        return error;
    }
    if let Some(executable) = program.executable() {
        return execute_at(executable.as_fd(), c"", program, libc::AT_EMPTY_PATH);
    }
    let mut worst = Errno::NOENT;
    for candidate in program.candidates() {
        match execute_at(CWD, candidate, program, 0) {
            Errno::NOENT | Errno::NOTDIR => {}
            Errno::ACCESS => worst = Errno::ACCESS,
            error => return error,
        }
    }
    worst
}

/// `execveat`.
fn execute_at(directory: BorrowedFd<'_>, path: &CStr, program: &Program, flags: c_int) -> Errno {
    // SAFETY: path and both lists are complete C data, owned by the parent, which sleeps.
    let result = unsafe {
        libc::syscall(
            libc::SYS_execveat,
            directory.as_raw_fd(),
            path.as_ptr(),
            program.argument_pointers(),
            program.environment_pointers(),
            flags,
        )
    };
    checked(result).err().unwrap_or(Errno::IO)
}

/// Gives the program a clean start: these signals blocked and none ignored (std ignores SIGPIPE, and
/// ignored ones survive both `CLONE_CLEAR_SIGHAND` and `execve`), no descriptors but its own.
fn forget_the_agents_signals_and_files(blocked: u64) -> Result<(), Errno> {
    // SAFETY: plain data, for which zeroes mean the default action and no flags.
    let default_action: KernelSigaction = unsafe { std::mem::zeroed() };
    let action = std::ptr::from_ref(&default_action);
    let nothing = std::ptr::null_mut::<c_void>();
    // SAFETY: the kernel reads one sigaction and writes nothing.
    let result = unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            libc::SIGPIPE,
            action,
            nothing,
            KERNEL_SIGNAL_SET_BYTES,
        )
    };
    checked(result)?;
    let set = std::ptr::from_ref(&blocked);
    // SAFETY: the kernel reads one 8-byte set and writes nothing.
    let result = unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            set,
            nothing,
            KERNEL_SIGNAL_SET_BYTES,
        )
    };
    checked(result)?;
    // SAFETY: marks descriptors of this process's own table; touches no memory.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            libc::STDERR_FILENO + 1,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    checked(result)
}

/// The kernel's `struct sigaction` on x86-64: handler, flags, restorer, mask.
type KernelSigaction = [u64; 4];

/// The kernel's signal sets: a bit for each of the 64.
const NO_SIGNALS: u64 = 0;
const ALL_SIGNALS: u64 = u64::MAX;

/// Bytes of the kernel's signal set.
const KERNEL_SIGNAL_SET_BYTES: usize = 8;
