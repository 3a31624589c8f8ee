//! Mounts that are not attached anywhere yet, as descriptors.

use std::ffi::c_int;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::libc;
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags};

/// A new file system of this kind, configured by `configure`, mounted nowhere.
pub(crate) fn new_mount(
    kind: &str,
    configure: impl FnOnce(BorrowedFd<'_>) -> Result<(), Errno>,
) -> Result<OwnedFd, Errno> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    configure(context.as_fd())?;
    rustix::mount::fsconfig_create(context.as_fd())?;
    let attributes = MountAttrFlags::empty();
    rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// A detached copy of what is mounted at a path, for a bind mount.
pub(crate) fn copy(path: &Path, recursive: bool) -> Result<OwnedFd, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(CWD, path, flags)
}

/// A detached copy of what was opened, for a bind mount.
pub(crate) fn copy_of(opened: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    rustix::mount::open_tree(opened, c"", flags)
}

/// Changes to the attributes of a detached mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    /// `MOUNT_ATTR_…` to set.
    pub(crate) set: u64,
    /// `MOUNT_ATTR_…` to clear.
    pub(crate) clear: u64,
    /// `MS_PRIVATE` and the like, or 0.
    pub(crate) propagation: u64,
    /// Whether mounts below change too.
    pub(crate) recursive: bool,
}

/// Applies attributes to a detached mount.
pub(crate) fn set_attributes(tree: BorrowedFd<'_>, attributes: Attributes) -> Result<(), Errno> {
    let arguments = libc::mount_attr {
        attr_set: attributes.set,
        attr_clr: attributes.clear,
        propagation: attributes.propagation,
        userns_fd: 0,
    };
    let recursive = if attributes.recursive {
        AT_RECURSIVE
    } else {
        0
    };
    // SAFETY: the path is an empty C string, the arguments are complete and as long as told.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | recursive,
            std::ptr::from_ref(&arguments),
            size_of::<libc::mount_attr>(),
        )
    };
    if result == -1 {
        Err(Errno::from_raw_os_error(nix::errno::Errno::last_raw()))
    } else {
        Ok(())
    }
}

/// `AT_RECURSIVE` of `linux/fcntl.h`.
const AT_RECURSIVE: c_int = 0x8000;
