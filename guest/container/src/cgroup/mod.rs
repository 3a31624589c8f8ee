//! cgroup v2: one group per container below `containers`, so that all of them can be counted,
//! limited and killed as one.
//!
//! ```text
//! /sys/fs/cgroup                the agent and its threads live here (the root is exempt from the
//! └── containers                "no internal processes" rule)
//!     ├── <container id>
//!     └── …
//! ```

pub(crate) mod devices;
pub(crate) mod limits;

use std::io::{BufRead, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

pub use self::devices::DeviceFilterError;
pub use self::limits::LimitError;

/// The group of all containers.
const PARENT_NAME: &str = "containers";

/// How long killed processes have to go before their group is given up.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a freeze may take.
const FREEZE_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest of the kernel's files that we read, in bytes.
const MAX_FILE_BYTES: usize = 16 * 1024;

/// Why a group cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// It cannot be made.
    #[error("failed to create cgroup {path}")]
    Create {
        /// The group.
        path: PathBuf,
        /// Why it failed.
        #[source]
        errno: Errno,
    },
    /// One of its files cannot be read.
    #[error("failed to read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        errno: Errno,
    },
    /// One of its files cannot be written.
    #[error("failed to write {value:?} to {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What was written.
        value: String,
        /// Why it failed.
        #[source]
        errno: Errno,
    },
    /// Its processes did not do in time what they were told.
    #[error("processes in cgroup {path} did not {what} in time")]
    Timeout {
        /// The group.
        path: PathBuf,
        /// What they did not do.
        what: &'static str,
    },
    /// It cannot be deleted.
    #[error("failed to delete cgroup {path}")]
    Delete {
        /// The group.
        path: PathBuf,
        /// Why it failed.
        #[source]
        errno: Errno,
    },
}

/// Where containers have their groups.
#[derive(Debug)]
pub(crate) struct Tree {
    parent: PathBuf,
}

impl Tree {
    /// Prepares the tree below a cgroup v2 mount: every controller there is goes to containers.
    pub(crate) fn new(mount: &Path) -> Result<Self, CgroupError> {
        let parent = mount.join(PARENT_NAME);
        delegate(mount)?;
        make(&parent)?;
        delegate(&parent)?;
        Ok(Self { parent })
    }

    /// Makes the group of a container, which is deleted with the value unless kept.
    pub(crate) fn create(&self, name: &str) -> Result<Cgroup, CgroupError> {
        let path = self.parent.join(name);
        // A group left behind (a killed agent's, in tests) would keep its old limits and counts.
        let _removed = rustix::fs::rmdir(&path);
        make(&path)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder =
            rustix::fs::open(&path, flags, Mode::empty()).map_err(|errno| CgroupError::Create {
                path: path.clone(),
                errno,
            })?;
        Ok(Cgroup { path, folder })
    }

    /// Kills every process of every container.
    pub(crate) fn kill_all(&self) -> Result<(), CgroupError> {
        write(&self.parent.join("cgroup.kill"), "1")
    }
}

fn make(path: &Path) -> Result<(), CgroupError> {
    match rustix::fs::mkdir(path, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(CgroupError::Create {
            path: path.to_owned(),
            errno,
        }),
    }
}

/// Enables every controller of a group for the groups below it.
fn delegate(group: &Path) -> Result<(), CgroupError> {
    let available = read(&group.join("cgroup.controllers"))?;
    let wanted: Vec<String> = available
        .split_whitespace()
        .map(|name| format!("+{name}"))
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    write(&group.join("cgroup.subtree_control"), &wanted.join(" "))
}

fn read(path: &Path) -> Result<String, CgroupError> {
    let error = |errno| CgroupError::Read {
        path: path.to_owned(),
        errno,
    };
    let file =
        rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(error)?;
    let mut buffer = [0; MAX_FILE_BYTES];
    let length = rustix::io::read(&file, &mut buffer).map_err(error)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// The ids in a group's `cgroup.procs`, at most so many.
fn ids_in(group: &Path, most: usize) -> Result<Vec<u32>, CgroupError> {
    let path = group.join("cgroup.procs");
    let error = |error: std::io::Error| CgroupError::Read {
        path: path.clone(),
        errno: Errno::from_io_error(&error).unwrap_or(Errno::IO),
    };
    let file = std::fs::File::open(&path).map_err(error)?;
    let lines = std::io::BufReader::new(file).lines().take(most);
    let ids = lines.map(|line| Ok(line.map_err(error)?.trim().parse().unwrap_or(0)));
    // 0 is a process of another pid namespace.
    let known = |id: &Result<u32, CgroupError>| !matches!(id, Ok(0));
    ids.filter(known).collect()
}

fn write(path: &Path, value: &str) -> Result<(), CgroupError> {
    write_file(path, value).map_err(|errno| CgroupError::Write {
        path: path.to_owned(),
        value: value.to_owned(),
        errno,
    })
}

/// Writes to a file that must exist: the kernel's files are never made.
fn write_file(path: &Path, value: &str) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::TRUNC;
    let file = rustix::fs::open(path, flags, Mode::empty())?;
    std::fs::File::from(file)
        .write_all(value.as_bytes())
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

/// A container's group.
#[derive(Debug)]
pub(crate) struct Cgroup {
    path: PathBuf,
    folder: OwnedFd,
}

impl Cgroup {
    /// The group's directory, to start processes in.
    pub(crate) fn folder(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }

    /// The content of one of its files.
    pub(crate) fn file(&self, name: &str) -> Result<String, CgroupError> {
        read(&self.path.join(name))
    }

    /// Ids of its processes, those of groups that the container made below it included; at most so
    /// many.
    pub(crate) fn process_ids(&self, most: usize) -> Result<Vec<u32>, CgroupError> {
        let mut ids = ids_in(&self.path, most)?;
        for group in self.groups_below() {
            let room = most.saturating_sub(ids.len());
            // A group may go while we look.
            ids.extend(ids_in(&group, room).unwrap_or_default());
        }
        Ok(ids)
    }

    /// Kills every process in the group.
    pub(crate) fn kill(&self) -> Result<(), CgroupError> {
        write(&self.path.join("cgroup.kill"), "1")
    }

    /// Freezes every process, or lets them go on; returns when that has happened.
    pub(crate) fn freeze(&self, frozen: bool) -> Result<(), CgroupError> {
        write(
            &self.path.join("cgroup.freeze"),
            if frozen { "1" } else { "0" },
        )?;
        let state = if frozen { "frozen 1" } else { "frozen 0" };
        self.wait_for(
            state,
            if frozen { "freeze" } else { "thaw" },
            FREEZE_TIMEOUT,
        )
    }

    /// Whether the kernel has killed a process of the group for want of memory.
    pub(crate) fn was_out_of_memory(&self) -> bool {
        // Without the memory controller there is no such file, and no such death.
        let Ok(events) = read(&self.path.join("memory.events")) else {
            return false;
        };
        events
            .lines()
            .filter_map(|line| line.strip_prefix("oom_kill "))
            .any(|count| count.trim() != "0")
    }

    /// The processes in the group, as this machine numbers them.
    pub(crate) fn processes(&self) -> Result<Vec<i32>, CgroupError> {
        let path = self.path.join("cgroup.procs");
        let content = std::fs::read_to_string(&path).map_err(|error| CgroupError::Read {
            path,
            errno: Errno::from_io_error(&error).unwrap_or(Errno::IO),
        })?;
        Ok(content
            .lines()
            .filter_map(|line| line.parse().ok())
            .collect())
    }

    /// Kills what is left in the group and deletes it.
    pub(crate) fn delete(&self) -> Result<(), CgroupError> {
        // The usual case first: a container's processes die with its first one.
        match rustix::fs::rmdir(&self.path) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(_busy) => {}
        }
        self.delete_groups_below();
        self.kill()?;
        self.wait_for("populated 0", "end", KILL_TIMEOUT)?;
        self.delete_groups_below();
        match rustix::fs::rmdir(&self.path) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(CgroupError::Delete {
                path: self.path.clone(),
                errno,
            }),
        }
    }

    /// Deletes empty groups that a container made below its own (a privileged one may).
    fn delete_groups_below(&self) {
        for group in self.groups_below().iter().rev() {
            let _removed = rustix::fs::rmdir(group);
        }
    }

    /// Groups that a container made below its own, each after the one it is in.
    fn groups_below(&self) -> Vec<PathBuf> {
        let mut left = vec![self.path.clone()];
        let mut found = Vec::new();
        while let Some(group) = left.pop() {
            let Ok(entries) = std::fs::read_dir(&group) else {
                continue;
            };
            for entry in entries.flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    left.push(entry.path());
                    found.push(entry.path());
                }
            }
        }
        found
    }

    /// Waits until a line appears in `cgroup.events`, whose changes the kernel announces.
    fn wait_for(
        &self,
        line: &str,
        what: &'static str,
        timeout: Duration,
    ) -> Result<(), CgroupError> {
        let path = self.path.join("cgroup.events");
        let error = |errno| CgroupError::Read {
            path: path.clone(),
            errno,
        };
        let file = rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(error)?;
        let deadline = Instant::now() + timeout;
        loop {
            let mut buffer = [0; MAX_FILE_BYTES];
            let length = rustix::io::pread(&file, &mut buffer, 0).map_err(error)?;
            let events = String::from_utf8_lossy(&buffer[..length]);
            if events.lines().any(|found| found == line) {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(CgroupError::Timeout {
                    path: self.path.clone(),
                    what,
                });
            }
            let left = Timespec::try_from(left).unwrap_or_default();
            let mut polled = [PollFd::new(&file, PollFlags::PRI)];
            match rustix::event::poll(&mut polled, Some(&left)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(error(errno)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cgroup_in(folder: &Path) -> Cgroup {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let descriptor = rustix::fs::open(folder, flags, Mode::empty()).unwrap();
        Cgroup {
            path: folder.to_owned(),
            folder: descriptor,
        }
    }

    #[test]
    fn every_controller_goes_to_containers() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(
            folder.path().join("cgroup.controllers"),
            "cpu memory pids\n",
        )
        .unwrap();
        std::fs::write(folder.path().join("cgroup.subtree_control"), "").unwrap();

        delegate(folder.path()).unwrap();

        let written =
            std::fs::read_to_string(folder.path().join("cgroup.subtree_control")).unwrap();
        assert_eq!(written, "+cpu +memory +pids");
    }

    #[test]
    fn an_out_of_memory_kill_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let events = "low 0\nhigh 0\nmax 12\noom 1\noom_kill 1\n";
        std::fs::write(folder.path().join("memory.events"), events).unwrap();

        assert!(cgroup_in(folder.path()).was_out_of_memory());
    }

    #[test]
    fn reaching_the_limit_without_a_kill_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let events = "low 0\nhigh 0\nmax 12\noom 0\noom_kill 0\n";
        std::fs::write(folder.path().join("memory.events"), events).unwrap();

        assert!(!cgroup_in(folder.path()).was_out_of_memory());
    }

    #[test]
    fn processes_of_groups_below_count() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("below")).unwrap();
        std::fs::write(folder.path().join("cgroup.procs"), "1\n2\n").unwrap();
        std::fs::write(folder.path().join("below/cgroup.procs"), "3\n4\n").unwrap();

        let cgroup = cgroup_in(folder.path());

        assert_eq!(cgroup.process_ids(10).unwrap(), [1, 2, 3, 4]);
        assert_eq!(cgroup.process_ids(3).unwrap(), [1, 2, 3]);
    }

    #[test]
    fn waiting_ends_when_the_line_is_there() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(
            folder.path().join("cgroup.events"),
            "populated 0\nfrozen 1\n",
        )
        .unwrap();
        std::fs::write(folder.path().join("cgroup.freeze"), "").unwrap();

        cgroup_in(folder.path()).freeze(true).unwrap();

        assert_eq!(
            std::fs::read_to_string(folder.path().join("cgroup.freeze")).unwrap(),
            "1"
        );
    }

    #[test]
    fn files_of_the_kernel_are_never_made() {
        let folder = tempfile::tempdir().unwrap();

        let error = cgroup_in(folder.path()).kill().unwrap_err();

        assert!(matches!(
            error,
            CgroupError::Write {
                errno: Errno::NOENT,
                ..
            }
        ));
    }
}
