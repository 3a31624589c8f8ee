//! The runtime itself: where it keeps things, and what it found out about the machine.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::cgroup::devices::{self, DeviceFilterError, Instruction};
use crate::cgroup::{CgroupError, Tree};
use crate::container::Register;
use crate::io::ProcessIo;
use crate::network::Networks;
use crate::reaper::{ExitWatch, Reaper};
use crate::rootfs::layers::Layers;

/// Where the runtime finds and keeps things.
#[derive(Clone, Debug)]
pub struct Paths {
    /// The data disk: `containers/<id>` holds what a container has written, `volumes/<name>` a
    /// volume.
    pub data: PathBuf,
    /// A directory that lives as long as the machine: mount points.
    pub run: PathBuf,
    /// The block device on which layers lie.
    pub layer_disk: PathBuf,
    /// Where cgroup v2 is mounted.
    pub cgroup: PathBuf,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            data: PathBuf::from("/data"),
            run: PathBuf::from("/run/dhow"),
            layer_disk: PathBuf::from("/dev/vda"),
            cgroup: PathBuf::from("/sys/fs/cgroup"),
        }
    }
}

/// Why there is no runtime.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A directory or device cannot be prepared.
    #[error("failed to prepare {path}")]
    Prepare {
        /// Which.
        path: PathBuf,
        /// Why it failed.
        #[source]
        errno: Errno,
    },
    /// cgroups cannot be prepared.
    #[error("failed to prepare cgroups")]
    Cgroup(#[source] CgroupError),
    /// The reaper's thread cannot be started.
    #[error("failed to start the reaper")]
    Reaper(#[source] std::io::Error),
    /// The agent cannot be protected from being traced.
    #[error("failed to forbid tracing the agent")]
    Tracing(#[source] Errno),
    /// The root cannot be made one that containers can leave.
    #[error("failed to mount the root over itself")]
    Root(#[source] Errno),
}

/// A started process.
#[derive(Debug)]
pub struct Process {
    /// Its process id on this machine.
    pub pid: u32,
    /// A descriptor for it: readable when it has ended.
    pub pidfd: OwnedFd,
    /// The agent's ends of its input and output.
    pub io: ProcessIo,
    /// Where its end is told.
    pub exit: ExitWatch,
    /// What was asked for and could not be had, for the user.
    pub warnings: Vec<String>,
}

/// Runs containers on this machine. One per machine.
#[derive(Debug)]
pub struct Runtime {
    pub(crate) paths: Paths,
    pub(crate) layers: Layers,
    pub(crate) cgroups: Tree,
    pub(crate) register: Register,
    pub(crate) networks: Networks,
    pub(crate) reaper: Reaper,
    pub(crate) machine: Machine,
    device_programs: Mutex<HashMap<Vec<Instruction>, std::sync::Arc<OwnedFd>>>,
}

/// What is the same for every container.
#[derive(Debug)]
pub(crate) struct Machine {
    /// `/dev/null`.
    pub(crate) null: OwnedFd,
    /// The agent's own pid namespace.
    pub(crate) pid_namespace: OwnedFd,
    /// A mask of the capabilities that the kernel has.
    pub(crate) known_capabilities: u64,
    /// The agent's badness for the out-of-memory killer, which children inherit.
    pub(crate) oom_score: String,
    /// An empty directory where roots are mounted on the way to becoming roots.
    pub(crate) root_mount: PathBuf,
}

/// The most device programs kept for use by further containers. Containers of one host have a
/// handful of different rules.
const MAX_DEVICE_PROGRAMS: usize = 64;

impl Runtime {
    /// Prepares this machine for containers: directories, cgroups with every controller passed
    /// down, and a thread that reaps every child of this process.
    ///
    /// `/proc`, `/sys`, `/dev`, cgroup v2 and the data disk must be mounted, and
    /// [`make_root_pivotable`] called before that if the machine runs from an initramfs.
    ///
    /// # Errors
    /// [`SetupError`] where one of these is missing.
    pub fn new(paths: Paths) -> Result<Self, SetupError> {
        for folder in ["layers", "root"] {
            make_folders(&paths.run.join(folder))?;
        }
        for folder in ["containers", "volumes"] {
            make_folders(&paths.data.join(folder))?;
        }
        forbid_tracing()?;
        let machine = Machine::inspect(paths.run.join("root"))?;
        let network = PathBuf::from("/proc/self/ns/net");
        let network = rustix::fs::open(&network, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| SetupError::Prepare {
            path: network,
            errno,
        })?;
        let cgroups = Tree::new(&paths.cgroup).map_err(SetupError::Cgroup)?;
        Ok(Self {
            layers: Layers::new(&paths.layer_disk, &paths.run.join("layers")),
            cgroups,
            register: Register::default(),
            networks: Networks::new(network),
            reaper: Reaper::start().map_err(SetupError::Reaper)?,
            machine,
            paths,
            device_programs: Mutex::default(),
        })
    }

    /// Where a container's files are on the data disk.
    pub(crate) fn folder(&self, id: &str) -> PathBuf {
        self.paths.data.join("containers").join(id)
    }

    /// A loaded device program; equal ones are loaded once.
    pub(crate) fn device_program(
        &self,
        program: Vec<Instruction>,
    ) -> Result<std::sync::Arc<OwnedFd>, DeviceFilterError> {
        let mut programs = self
            .device_programs
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = programs.get(&program) {
            return Ok(std::sync::Arc::clone(loaded));
        }
        let loaded = std::sync::Arc::new(devices::load(&program)?);
        if programs.len() < MAX_DEVICE_PROGRAMS {
            programs.insert(program, std::sync::Arc::clone(&loaded));
        }
        Ok(loaded)
    }

    /// For tests on machines without a layer disk: uses a directory as the layer at this range.
    #[doc(hidden)]
    pub fn use_folder_as_layer(&self, range: dhow_protocol::LayerRange, folder: &Path) {
        self.layers.use_folder(range, folder);
    }
}

/// Keeps containers from tracing a child that shares the agent's memory while it sets itself up in
/// their sight (an exec's): once it has dropped its capabilities, root in the container could
/// attach to it otherwise. A container with `CAP_SYS_PTRACE` still could; for those, children get a
/// copy of the memory.
fn forbid_tracing() -> Result<(), SetupError> {
    let behavior = rustix::process::DumpableBehavior::NotDumpable;
    rustix::process::set_dumpable_behavior(behavior).map_err(SetupError::Tracing)
}

impl Machine {
    fn inspect(root_mount: PathBuf) -> Result<Self, SetupError> {
        let open = |path: &str, flags| {
            rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty()).map_err(|errno| {
                SetupError::Prepare {
                    path: PathBuf::from(path),
                    errno,
                }
            })
        };
        let read = |path: &str| {
            std::fs::read_to_string(path).map_err(|error| SetupError::Prepare {
                path: PathBuf::from(path),
                errno: Errno::from_io_error(&error).unwrap_or(Errno::IO),
            })
        };
        let last = read("/proc/sys/kernel/cap_last_cap")?;
        let last: u32 = last.trim().parse().unwrap_or(0);
        Ok(Self {
            null: open("/dev/null", OFlags::RDWR)?,
            pid_namespace: open("/proc/self/ns/pid", OFlags::RDONLY)?,
            known_capabilities: u64::MAX.checked_shr(63 - last.min(63)).unwrap_or(u64::MAX),
            oom_score: read("/proc/self/oom_score_adj")?.trim().to_owned(),
            root_mount,
        })
    }
}

fn make_folders(path: &Path) -> Result<(), SetupError> {
    std::fs::create_dir_all(path).map_err(|error| SetupError::Prepare {
        path: path.to_owned(),
        errno: Errno::from_io_error(&error).unwrap_or(Errno::IO),
    })
}

/// Mounts the root over itself and makes that the root, so that containers can leave it.
///
/// `pivot_root` cannot leave an initramfs, since its mount has no parent. To be called by process 1
/// before it mounts anything and starts any thread: what is mounted before would be mounted twice
/// in every container's namespace on its way.
///
/// # Errors
/// [`SetupError::Root`] where the kernel refuses.
pub fn make_root_pivotable() -> Result<(), SetupError> {
    use rustix::mount::{MoveMountFlags, OpenTreeFlags};
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let copy = rustix::mount::open_tree(CWD, "/", flags).map_err(SetupError::Root)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(&copy, "", CWD, "/", flags).map_err(SetupError::Root)?;
    rustix::process::fchdir(&copy).map_err(SetupError::Root)?;
    rustix::process::chroot(".").map_err(SetupError::Root)
}
