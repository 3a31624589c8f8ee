//! Which namespaces a container gets of its own, and which it shares.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use nix::libc;
use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::LinkNameSpaceType;

use crate::spawn::Step;

/// Why namespaces cannot be as asked.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// A sort that this runtime does not make.
    #[error("namespace type {0} is not supported")]
    Unsupported(&'static str),
    /// No mount namespace was asked for; a container without one would change the machine's mounts.
    #[error("a container needs a mount namespace of its own")]
    NoMountNamespace,
    /// The namespace to join is not there.
    #[error("failed to open namespace {path}")]
    Open {
        /// Its file.
        path: PathBuf,
        /// Why it cannot be opened.
        #[source]
        errno: Errno,
    },
}

/// A container's namespaces.
#[derive(Debug, Default)]
pub(crate) struct Namespaces {
    /// `CLONE_NEW…` flags for `clone3`.
    pub(crate) clone_flags: u64,
    /// Whether a cgroup namespace is started once the child is in its cgroup. `clone3` would root
    /// it at the agent's.
    pub(crate) own_cgroup: bool,
    /// Whether the network is the container's own.
    pub(crate) own_network: bool,
    /// Whether the host name is the container's own.
    pub(crate) own_hostname: bool,
    /// Namespaces to join.
    pub(crate) joins: Vec<Step>,
    /// The pid namespace to start in.
    pub(crate) pid: Option<OwnedFd>,
}

/// The flag of `clone3` for a new network namespace.
pub(crate) const NEW_NETWORK: u64 = libc::CLONE_NEWNET.cast_unsigned() as u64;
impl Namespaces {
    /// Whether its processes are out of every other container's sight.
    pub(crate) fn own_pids(&self) -> bool {
        self.clone_flags & flag(libc::CLONE_NEWPID) != 0
    }
}

/// Plans namespaces.
pub(crate) fn plan(wanted: &[LinuxNamespace]) -> Result<Namespaces, NamespaceError> {
    let mut namespaces = Namespaces::default();
    for namespace in wanted {
        match namespace.path() {
            Some(path) => join(&mut namespaces, namespace.typ(), path)?,
            None => create(&mut namespaces, namespace.typ())?,
        }
    }
    if namespaces.clone_flags & flag(libc::CLONE_NEWNS) == 0 {
        return Err(NamespaceError::NoMountNamespace);
    }
    Ok(namespaces)
}

fn flag(flag: libc::c_int) -> u64 {
    u64::from(flag.cast_unsigned())
}

fn create(namespaces: &mut Namespaces, kind: LinuxNamespaceType) -> Result<(), NamespaceError> {
    namespaces.clone_flags |= match kind {
        LinuxNamespaceType::Mount => flag(libc::CLONE_NEWNS),
        LinuxNamespaceType::Uts => {
            namespaces.own_hostname = true;
            flag(libc::CLONE_NEWUTS)
        }
        LinuxNamespaceType::Ipc => flag(libc::CLONE_NEWIPC),
        LinuxNamespaceType::Pid => flag(libc::CLONE_NEWPID),
        LinuxNamespaceType::Network => {
            namespaces.own_network = true;
            flag(libc::CLONE_NEWNET)
        }
        LinuxNamespaceType::Cgroup => {
            namespaces.own_cgroup = true;
            0
        }
        LinuxNamespaceType::User => return Err(NamespaceError::Unsupported("user")),
        LinuxNamespaceType::Time => return Err(NamespaceError::Unsupported("time")),
    };
    Ok(())
}

fn join(
    namespaces: &mut Namespaces,
    kind: LinuxNamespaceType,
    path: &std::path::Path,
) -> Result<(), NamespaceError> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file =
        rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| NamespaceError::Open {
            path: path.to_owned(),
            errno,
        })?;
    let kind = match kind {
        LinuxNamespaceType::Uts => LinkNameSpaceType::HostNameAndNISDomainName,
        LinuxNamespaceType::Ipc => LinkNameSpaceType::InterProcessCommunication,
        LinuxNamespaceType::Network => LinkNameSpaceType::Network,
        LinuxNamespaceType::Cgroup => LinkNameSpaceType::ControlGroup,
        LinuxNamespaceType::Pid => {
            namespaces.pid = Some(file);
            return Ok(());
        }
        LinuxNamespaceType::Mount => return Err(NamespaceError::NoMountNamespace),
        LinuxNamespaceType::User => return Err(NamespaceError::Unsupported("user")),
        LinuxNamespaceType::Time => return Err(NamespaceError::Unsupported("time")),
    };
    namespaces.joins.push(Step::JoinNamespace(file, kind));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Vec<LinuxNamespace> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_network_that_is_not_listed_is_shared() {
        let wanted = parse(r#"[{"type":"mount"},{"type":"pid"},{"type":"uts"}]"#);

        let namespaces = plan(&wanted).unwrap();

        assert!(!namespaces.own_network);
        assert_eq!(namespaces.clone_flags & flag(libc::CLONE_NEWNET), 0);
    }

    #[test]
    fn a_cgroup_namespace_is_not_left_to_clone() {
        let wanted = parse(r#"[{"type":"mount"},{"type":"cgroup"}]"#);

        let namespaces = plan(&wanted).unwrap();

        assert!(namespaces.own_cgroup);
        assert_eq!(namespaces.clone_flags, flag(libc::CLONE_NEWNS));
    }

    #[test]
    fn refuses_a_container_in_the_machines_mount_namespace() {
        let error = plan(&parse(r#"[{"type":"pid"}]"#)).unwrap_err();

        assert!(matches!(error, NamespaceError::NoMountNamespace));
    }

    #[test]
    fn joins_a_namespace_with_a_path() {
        let wanted = parse(r#"[{"type":"mount"},{"type":"network","path":"/proc/self/ns/net"}]"#);

        let namespaces = plan(&wanted).unwrap();

        assert_eq!(namespaces.joins.len(), 1);
        assert!(!namespaces.own_network);
    }
}
