//! OCI's `mounts` as steps.
//!
//! Bind mounts and devpts are made by the agent as detached trees, since their sources are out of
//! the child's sight once its root has changed; everything else is mounted by the child, because
//! proc, sysfs, mqueue and cgroup2 show the namespaces of whoever mounts them.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::libc;
use oci_spec::runtime::Mount;
use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::mount::MountFlags;

use super::{ZeroByte, c_string};
use crate::rootfs::detached::{self, Attributes};
use crate::spawn::Step;
use crate::volume::OpenVolumes;

/// The most mounts of one container; the kernel's own bound is a hundred thousand per namespace.
const MAX_MOUNTS: usize = 4096;

/// Why a mount cannot be as asked.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// Too many of them.
    #[error("{0} mounts are more than {MAX_MOUNTS}")]
    TooMany(usize),
    /// A path with a zero byte.
    #[error("bad path or option of a mount")]
    Text(#[from] ZeroByte),
    /// A destination that is not absolute.
    #[error("mount destination {0:?} is not absolute")]
    Relative(PathBuf),
    /// A path that is not UTF-8.
    #[error("path {0:?} is not UTF-8")]
    NotUtf8(PathBuf),
    /// A bind mount without a source.
    #[error("bind mount at {0} has no source")]
    NoSource(String),
    /// The source is missing.
    #[error("bind source path does not exist: {0}")]
    SourceMissing(PathBuf),
    /// The source or devpts cannot be prepared.
    #[error("failed to prepare the mount at {destination}")]
    Prepare {
        /// Where it was to go.
        destination: String,
        /// Why it failed.
        #[source]
        errno: Errno,
    },
}

/// A container's mounts.
#[derive(Debug, Default)]
pub(crate) struct MountPlan {
    /// What the child does.
    pub(crate) steps: Vec<Step>,
    /// The container's devpts, for its terminals.
    pub(crate) devpts: Option<Arc<OwnedFd>>,
    /// Whether `/dev` is the container's own, to be filled with devices.
    pub(crate) own_dev: bool,
}

/// Plans mounts.
///
/// A bind mount whose destination is among `opened` has that for its source.
pub(crate) fn plan(mounts: &[Mount], opened: &OpenVolumes) -> Result<MountPlan, MountError> {
    if mounts.len() > MAX_MOUNTS {
        return Err(MountError::TooMany(mounts.len()));
    }
    let mut plan = MountPlan {
        own_dev: true,
        ..MountPlan::default()
    };
    for mount in mounts {
        let destination = utf8(mount.destination())?;
        if !destination.starts_with('/') {
            return Err(MountError::Relative(mount.destination().clone()));
        }
        let options = Options::parse(mount.options().as_deref().unwrap_or_default());
        let kind = mount.typ().as_deref().unwrap_or_default();
        if kind == "bind" || options.bind {
            plan.own_dev &= destination.trim_end_matches('/') != "/dev";
            plan.steps.push(bind(mount, destination, &options, opened)?);
        } else if kind == "devpts" {
            let tree = Arc::new(devpts(destination, &options)?);
            plan.devpts = Some(Arc::clone(&tree));
            let target = c_string(destination)?;
            plan.steps.push(Step::Attach {
                tree,
                target,
                directory: true,
            });
        } else {
            plan.steps.push(file_system(mount, kind, &options)?);
        }
    }
    Ok(plan)
}

fn utf8(path: &Path) -> Result<&str, MountError> {
    path.to_str()
        .ok_or_else(|| MountError::NotUtf8(path.to_owned()))
}

fn bind(
    mount: &Mount,
    destination: &str,
    options: &Options,
    opened: &OpenVolumes,
) -> Result<Step, MountError> {
    let source = mount
        .source()
        .as_deref()
        .ok_or_else(|| MountError::NoSource(destination.to_owned()))?;
    let error = |errno| match errno {
        Errno::NOENT => MountError::SourceMissing(source.to_owned()),
        errno => MountError::Prepare {
            destination: destination.to_owned(),
            errno,
        },
    };
    let (tree, directory) = match opened.get(destination) {
        Some(volume) => {
            let status = rustix::fs::fstat(volume).map_err(error)?;
            let kind = FileType::from_raw_mode(status.st_mode);
            let tree = detached::copy_of(volume.as_fd()).map_err(error)?;
            (tree, kind == FileType::Directory)
        }
        None => {
            // First, as it tells what is missing also to who may not mount.
            let status = rustix::fs::stat(source).map_err(error)?;
            let kind = FileType::from_raw_mode(status.st_mode);
            let tree = detached::copy(source, options.recursive).map_err(error)?;
            (tree, kind == FileType::Directory)
        }
    };
    let attributes = options.attributes();
    if attributes != Attributes::default() {
        detached::set_attributes(tree.as_fd(), attributes).map_err(error)?;
    }
    Ok(Step::Attach {
        tree: Arc::new(tree),
        target: c_string(destination)?,
        directory,
    })
}

fn devpts(destination: &str, options: &Options) -> Result<OwnedFd, MountError> {
    let error = |errno| MountError::Prepare {
        destination: destination.to_owned(),
        errno,
    };
    let tree = detached::new_mount("devpts", |context| {
        for option in &options.data {
            match option.split_once('=') {
                Some((key, value)) => rustix::mount::fsconfig_set_string(context, key, value)?,
                None => rustix::mount::fsconfig_set_flag(context, option.as_str())?,
            }
        }
        Ok(())
    })
    .map_err(error)?;
    detached::set_attributes(tree.as_fd(), options.attributes()).map_err(error)?;
    Ok(tree)
}

fn file_system(mount: &Mount, kind: &str, options: &Options) -> Result<Step, MountError> {
    let destination = utf8(mount.destination())?;
    // Docker asks for "cgroup"; on a cgroup v2 machine that is cgroup2.
    let kind = if kind == "cgroup" { "cgroup2" } else { kind };
    let source = match mount.source() {
        Some(source) => utf8(source)?,
        None => kind,
    };
    Ok(Step::Mount {
        source: c_string(source)?,
        target: c_string(destination)?,
        kind: c_string(kind)?,
        flags: options.flags,
        data: c_string(&options.data.join(","))?,
        optional: kind == "mqueue",
    })
}

/// Mount options, sorted out.
#[derive(Debug)]
struct Options {
    flags: MountFlags,
    bind: bool,
    recursive: bool,
    /// `MOUNT_ATTR_…` for a detached tree.
    set: u64,
    clear: u64,
    propagation: u64,
    /// What the file system itself is told.
    data: Vec<String>,
}

/// What an option does to a mount.
struct Meaning {
    flag: MountFlags,
    attribute: u64,
    is_set: bool,
}

impl Options {
    fn parse(options: &[String]) -> Self {
        let mut parsed = Self {
            flags: MountFlags::empty(),
            bind: false,
            recursive: false,
            set: 0,
            clear: 0,
            propagation: 0,
            data: Vec::new(),
        };
        for option in options {
            parsed.add(option);
        }
        parsed
    }

    fn add(&mut self, option: &str) {
        if let Some(meaning) = meaning(option) {
            self.flags.set(meaning.flag, meaning.is_set);
            self.clear |= meaning.attribute;
            if meaning.is_set {
                self.set |= meaning.attribute;
            } else {
                self.set &= !meaning.attribute;
            }
            return;
        }
        match option {
            "bind" => self.bind = true,
            "rbind" => (self.bind, self.recursive) = (true, true),
            "private" | "rprivate" => self.propagation = libc::MS_PRIVATE,
            "shared" | "rshared" => self.propagation = libc::MS_SHARED,
            "slave" | "rslave" => self.propagation = libc::MS_SLAVE,
            "unbindable" | "runbindable" => self.propagation = libc::MS_UNBINDABLE,
            "defaults" | "async" | "" => {}
            other => self.data.push(other.to_owned()),
        }
    }

    /// What a detached tree needs. As with runc, flags are for the top mount of a tree only.
    fn attributes(&self) -> Attributes {
        let only_propagation = self.set | self.clear == 0;
        Attributes {
            set: self.set,
            clear: self.clear,
            propagation: self.propagation,
            recursive: self.recursive && only_propagation && self.propagation != 0,
        }
    }
}

/// The options that are mount flags, with their opposites.
fn meaning(option: &str) -> Option<Meaning> {
    let (flag, attribute, is_set) = match option {
        "ro" => (MountFlags::RDONLY, libc::MOUNT_ATTR_RDONLY, true),
        "rw" => (MountFlags::RDONLY, libc::MOUNT_ATTR_RDONLY, false),
        "nosuid" => (MountFlags::NOSUID, libc::MOUNT_ATTR_NOSUID, true),
        "suid" => (MountFlags::NOSUID, libc::MOUNT_ATTR_NOSUID, false),
        "nodev" => (MountFlags::NODEV, libc::MOUNT_ATTR_NODEV, true),
        "dev" => (MountFlags::NODEV, libc::MOUNT_ATTR_NODEV, false),
        "noexec" => (MountFlags::NOEXEC, libc::MOUNT_ATTR_NOEXEC, true),
        "exec" => (MountFlags::NOEXEC, libc::MOUNT_ATTR_NOEXEC, false),
        "nodiratime" => (MountFlags::NODIRATIME, libc::MOUNT_ATTR_NODIRATIME, true),
        "diratime" => (MountFlags::NODIRATIME, libc::MOUNT_ATTR_NODIRATIME, false),
        // Access times are one field, not flags of a detached tree; only new file systems take them.
        "noatime" => (MountFlags::NOATIME, 0, true),
        "atime" => (MountFlags::NOATIME, 0, false),
        "relatime" => (MountFlags::RELATIME, 0, true),
        "norelatime" => (MountFlags::RELATIME, 0, false),
        "strictatime" => (MountFlags::STRICTATIME, 0, true),
        "nostrictatime" => (MountFlags::STRICTATIME, 0, false),
        "sync" => (MountFlags::SYNCHRONOUS, 0, true),
        "dirsync" => (MountFlags::DIRSYNC, 0, true),
        _ => return None,
    };
    Some(Meaning {
        flag,
        attribute,
        is_set,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Vec<Mount> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn options_split_into_flags_and_data() {
        let options = ["nosuid", "ro", "mode=755", "size=64m", "rw"].map(str::to_owned);

        let options = Options::parse(&options);

        assert_eq!(options.flags, MountFlags::NOSUID);
        assert_eq!(options.data, ["mode=755", "size=64m"]);
    }

    #[test]
    fn the_last_of_opposite_options_wins() {
        let options = Options::parse(&["rw".to_owned(), "ro".to_owned()]);

        assert_eq!(options.attributes().set, libc::MOUNT_ATTR_RDONLY);
    }

    #[test]
    fn dockers_cgroup_is_version_two() {
        let mounts = parse(
            r#"[{"destination":"/sys/fs/cgroup","type":"cgroup","source":"cgroup",
                 "options":["ro","nosuid"]}]"#,
        );

        let plan = plan(&mounts, &OpenVolumes::new()).unwrap();

        assert!(matches!(&plan.steps[0], Step::Mount { kind, .. } if kind == c"cgroup2"));
    }

    #[test]
    fn refuses_a_relative_destination() {
        let error = plan(
            &parse(r#"[{"destination":"proc","type":"proc"}]"#),
            &OpenVolumes::new(),
        )
        .unwrap_err();

        assert!(matches!(error, MountError::Relative(_)));
    }

    #[test]
    fn a_missing_bind_source_is_told_as_docker_tells_it() {
        let mounts = parse(
            r#"[{"destination":"/x","type":"bind","source":"/nonexistent/y","options":["rbind"]}]"#,
        );

        let error = plan(&mounts, &OpenVolumes::new()).unwrap_err();

        assert_eq!(
            error.to_string(),
            "bind source path does not exist: /nonexistent/y"
        );
    }

    #[test]
    fn only_message_queues_may_be_missing_from_the_kernel() {
        let mounts = parse(
            r#"[{"destination":"/dev/mqueue","type":"mqueue"},{"destination":"/x","type":"tmpfs"}]"#,
        );

        let plan = plan(&mounts, &OpenVolumes::new()).unwrap();

        assert!(matches!(plan.steps[0], Step::Mount { optional: true, .. }));
        assert!(matches!(
            plan.steps[1],
            Step::Mount {
                optional: false,
                ..
            }
        ));
    }
}
