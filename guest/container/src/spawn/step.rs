//! What a child does between `clone3` and its program, as data: the parent decides and allocates,
//! the child only walks the list.
//!
//! A step holds everything it needs as C strings, descriptors and numbers. [`Step::describe`] is
//! called in the parent, to say which step failed.

use std::ffi::{CStr, CString, c_char};
use std::os::fd::OwnedFd;

use nix::libc;
use rustix::mount::MountFlags;
use rustix::process::{Gid, Resource, Rlimit, Uid};
use rustix::thread::{CapabilitySets, LinkNameSpaceType, ThreadNameSpaceType};

/// One thing a child does.
#[derive(Debug)]
pub(crate) enum Step {
    /// Becomes a session leader.
    NewSession,
    /// Puts descriptors in place of standard input, output and error.
    Stdio([OwnedFd; 3]),
    /// Makes standard input the controlling terminal.
    ControllingTerminal,
    /// Sets the badness for the out-of-memory killer, through the machine's own `/proc`.
    OomScore(CString),
    /// Starts a cgroup namespace rooted at the child's cgroup.
    NewCgroupNamespace,
    /// Joins namespaces of a process.
    JoinProcess(std::sync::Arc<OwnedFd>, ThreadNameSpaceType),
    /// Joins a namespace by its file.
    JoinNamespace(OwnedFd, LinkNameSpaceType),
    /// Keeps mounts from spreading to and from the machine's own.
    PrivateMounts,
    /// Makes a detached mount the root and lets go of the old one.
    EnterRoot {
        /// The detached mount.
        root: std::sync::Arc<OwnedFd>,
        /// An empty directory of the machine where it is mounted on the way.
        at: CString,
    },
    /// Mounts a new file system.
    Mount {
        source: CString,
        target: CString,
        kind: CString,
        flags: MountFlags,
        data: CString,
        /// Whether a kernel without this file system is fine.
        optional: bool,
    },
    /// Mounts a detached tree.
    Attach {
        tree: std::sync::Arc<OwnedFd>,
        target: CString,
        /// Whether the target, where missing, is to be a directory.
        directory: bool,
    },
    /// Mounts a file over another.
    BindFile { source: CString, target: CString },
    /// Makes a device node.
    Device {
        path: CString,
        /// Type and permissions.
        mode: u32,
        device: u64,
        owner: Option<(Uid, Gid)>,
    },
    /// Makes a symbolic link, in place of what is there.
    Symlink { content: CString, path: CString },
    /// Hides a file or directory.
    Mask(CString),
    /// Makes a file or directory read-only.
    ReadOnly(CString),
    /// Makes the root read-only.
    ReadOnlyRoot,
    /// Changes the root's propagation.
    RootPropagation(rustix::mount::MountPropagationFlags),
    /// Writes a kernel parameter.
    Sysctl { path: CString, value: CString },
    /// Sets the host name.
    HostName(CString),
    /// Sets the NIS domain name.
    DomainName(CString),
    /// Brings the loopback interface up.
    Loopback,
    /// Sets a resource limit.
    Limit(Resource, Rlimit),
    /// Changes the working directory, which is made where missing.
    WorkingDirectory(CString),
    /// Drops capabilities (a mask) from the bounding set.
    DropBounding(u64),
    /// Sets the user, its group and supplementary groups, keeping capabilities for the next step.
    User {
        uid: Uid,
        gid: Gid,
        groups: Vec<Gid>,
    },
    /// Sets the capability sets; then the ambient set (a mask).
    Capabilities { sets: CapabilitySets, ambient: u64 },
    /// Sets the file mode creation mask.
    Umask(u32),
    /// Forbids gaining privileges by executing a program.
    NoNewPrivileges,
    /// Installs a system call filter.
    Seccomp {
        filter: std::sync::Arc<Vec<libc::sock_filter>>,
        flags: u64,
    },
    /// Executes the program: the last step.
    Execute(Program),
}

/// A program to execute.
#[derive(Debug)]
pub(crate) struct Program {
    /// Where to look for it, in order.
    candidates: Vec<CString>,
    /// The tiny init that runs it, by descriptor and arguments, where one is wanted.
    through: Option<OwnedFd>,
    arguments: PointerList,
    environment: PointerList,
}

impl Program {
    /// A program with its candidates, arguments and environment.
    pub(crate) fn new(
        candidates: Vec<CString>,
        arguments: Vec<CString>,
        environment: Vec<CString>,
    ) -> Self {
        Self {
            candidates,
            through: None,
            arguments: PointerList::new(arguments),
            environment: PointerList::new(environment),
        }
    }

    /// The same, executed by a program that is known by its descriptor.
    pub(crate) fn through(mut self, executable: OwnedFd) -> Self {
        self.through = Some(executable);
        self
    }

    pub(super) fn candidates(&self) -> &[CString] {
        &self.candidates
    }

    pub(super) fn executable(&self) -> Option<&OwnedFd> {
        self.through.as_ref()
    }

    pub(super) fn argument_pointers(&self) -> *const *const c_char {
        self.arguments.pointers.as_ptr()
    }

    pub(super) fn environment_pointers(&self) -> *const *const c_char {
        self.environment.pointers.as_ptr()
    }
}

/// Strings as `execve` wants them: pointers, the last one null.
#[derive(Debug)]
struct PointerList {
    pointers: Vec<*const c_char>,
    /// Owns what the pointers point to; a `CString`'s bytes do not move with it.
    _strings: Vec<CString>,
}

// SAFETY: the pointers lead to bytes that this value owns and nobody writes to.
unsafe impl Send for PointerList {}
// SAFETY: as above; shared references only read.
unsafe impl Sync for PointerList {}

impl PointerList {
    fn new(strings: Vec<CString>) -> Self {
        let pointers = strings
            .iter()
            .map(|string| string.as_ptr())
            .chain(std::iter::once(std::ptr::null()))
            .collect();
        Self {
            pointers,
            _strings: strings,
        }
    }
}

impl Step {
    /// What the step tries, to follow "failed to".
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::NewSession => "start a session".to_owned(),
            Self::Stdio(_) => "set up standard input and output".to_owned(),
            Self::ControllingTerminal => "set the controlling terminal".to_owned(),
            Self::OomScore(value) => format!("set oom_score_adj to {}", text(value)),
            Self::NewCgroupNamespace => "create a cgroup namespace".to_owned(),
            Self::JoinProcess(..) => "join the container's namespaces".to_owned(),
            Self::JoinNamespace(_, kind) => format!("join a namespace ({kind:?})"),
            Self::PrivateMounts => "make mounts private".to_owned(),
            Self::EnterRoot { .. } => "change the root".to_owned(),
            Self::Mount { kind, target, .. } => {
                format!("mount {} at {}", text(kind), text(target))
            }
            Self::Attach { target, .. } => format!("bind mount at {}", text(target)),
            Self::BindFile { source, target } => {
                format!("bind mount {} at {}", text(source), text(target))
            }
            Self::Device { path, .. } => format!("create device {}", text(path)),
            Self::Symlink { path, .. } => format!("create symbolic link {}", text(path)),
            Self::Mask(path) => format!("mask {}", text(path)),
            Self::ReadOnly(path) => format!("make {} read-only", text(path)),
            Self::ReadOnlyRoot => "make the root read-only".to_owned(),
            Self::RootPropagation(_) => "set the propagation of the root".to_owned(),
            Self::Sysctl { path, value } => format!("write {} to {}", text(value), text(path)),
            Self::HostName(name) => format!("set host name {}", text(name)),
            Self::DomainName(name) => format!("set domain name {}", text(name)),
            Self::Loopback => "bring the loopback interface up".to_owned(),
            Self::Limit(resource, _) => format!("set resource limit {resource:?}"),
            Self::WorkingDirectory(path) => format!("chdir to cwd (\"{}\")", text(path)),
            Self::DropBounding(_) => "drop capabilities from the bounding set".to_owned(),
            Self::User { uid, gid, .. } => {
                format!("become user {}:{}", uid.as_raw(), gid.as_raw())
            }
            Self::Capabilities { .. } => "set capabilities".to_owned(),
            Self::Umask(_) => "set umask".to_owned(),
            Self::NoNewPrivileges => "set no_new_privs".to_owned(),
            Self::Seccomp { .. } => "install the system call filter".to_owned(),
            Self::Execute(_) => "execute the command".to_owned(),
        }
    }
}

/// A C string for a message.
fn text(string: &CStr) -> std::borrow::Cow<'_, str> {
    string.to_string_lossy()
}
