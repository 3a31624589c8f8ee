//! Why a start fails, and what the host is told about it.

use std::path::PathBuf;

use dhow_protocol::{Failure, FailureKind};
use rustix::io::Errno;

use crate::cgroup::{CgroupError, DeviceFilterError, LimitError};
use crate::container::LookupError;
use crate::io::IoError;
use crate::network::NetworkError;
use crate::plan::ZeroByte;
use crate::plan::mounts::MountError;
use crate::plan::namespaces::NamespaceError;
use crate::plan::process::ProcessError;
use crate::plan::system::SystemError;
use crate::rootfs::{LayerError, RootError};
use crate::seccomp::SeccompError;
use crate::spawn::SpawnError;
use crate::user::UserError;
use crate::volume::VolumeError;

use super::grants::GrantError;

/// Why a container did not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It runs already, or its id is none.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The configuration is none.
    #[error("the container's configuration is not a valid OCI config.json")]
    Config(#[source] serde_json::Error),
    /// The configuration lacks a part.
    #[error("the container's configuration has no {0}")]
    Incomplete(&'static str),
    /// The configuration asks for what this runtime does not do.
    #[error("{0} in the container's configuration are not supported")]
    Unsupported(&'static str),
    /// One part of the configuration cannot be as asked.
    #[error(transparent)]
    Part(#[from] PartError),
    /// A layer cannot be used.
    #[error("failed to prepare the image's layers")]
    Layer(#[from] LayerError),
    /// A volume cannot be used.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// A device of the machine cannot be granted.
    #[error(transparent)]
    Grant(#[from] GrantError),
    /// The root cannot be mounted.
    #[error("failed to prepare the root file system")]
    Root(#[from] RootError),
    /// A file of the container cannot be written.
    #[error("failed to write {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        errno: Errno,
    },
    /// It has no network, or another container's namespace cannot be joined.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// Its cgroup cannot be made.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// Its input and output cannot be made.
    #[error(transparent)]
    Io(#[from] IoError),
    /// The command cannot be executed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The process cannot be made.
    #[error("failed to start the container's process")]
    Spawn(#[source] SpawnError),
}

/// Why one part of a configuration cannot be as asked.
#[derive(Debug, thiserror::Error)]
pub enum PartError {
    /// Its user.
    #[error(transparent)]
    User(#[from] UserError),
    /// Its mounts.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// Its namespaces.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// Its process.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// Its devices, names or parameters.
    #[error(transparent)]
    System(#[from] SystemError),
    /// Its system call filter.
    #[error(transparent)]
    Seccomp(#[from] SeccompError),
    /// Its resource limits.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// Its device rules.
    #[error(transparent)]
    Device(#[from] DeviceFilterError),
    /// A text of it.
    #[error(transparent)]
    Text(#[from] ZeroByte),
}

/// Why a command cannot be executed, as Docker says it.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It is not in any directory of `PATH`.
    #[error("exec: \"{0}\": executable file not found in $PATH")]
    NotInPath(String),
    /// It is not at its path.
    #[error("exec: \"{0}\": no such file or directory")]
    NoSuchFile(String),
    /// It is there but may not be executed.
    #[error("exec: \"{command}\": {reason}")]
    NotExecutable {
        /// The command.
        command: String,
        /// Why not, as the kernel says it.
        reason: &'static str,
    },
}

impl CommandError {
    /// What the kernel's answer to `execve` means; `None` where the command is not to blame.
    pub(crate) fn of(errno: Errno, command: &str) -> Option<Self> {
        let not_executable = |reason| Self::NotExecutable {
            command: command.to_owned(),
            reason,
        };
        match errno {
            Errno::NOENT | Errno::NOTDIR if command.contains('/') => {
                Some(Self::NoSuchFile(command.to_owned()))
            }
            Errno::NOENT | Errno::NOTDIR => Some(Self::NotInPath(command.to_owned())),
            Errno::ACCESS | Errno::PERM => Some(not_executable("permission denied")),
            Errno::NOEXEC => Some(not_executable("exec format error")),
            Errno::ISDIR => Some(not_executable("is a directory")),
            Errno::TXTBSY => Some(not_executable("text file busy")),
            Errno::LOOP => Some(not_executable("too many levels of symbolic links")),
            Errno::TOOBIG => Some(not_executable("argument list too long")),
            _ => None,
        }
    }

    /// What sort of failure this is.
    pub(crate) fn kind(&self) -> FailureKind {
        match self {
            Self::NotInPath(_) | Self::NoSuchFile(_) => FailureKind::CommandNotFound,
            Self::NotExecutable { .. } => FailureKind::NotExecutable,
        }
    }
}

impl PartError {
    /// What sort of failure this is: mostly the request's own fault.
    pub(crate) fn kind(&self) -> FailureKind {
        match self {
            Self::User(UserError::Read { .. })
            | Self::Mount(MountError::Prepare { .. })
            | Self::Limit(LimitError::Write(_))
            | Self::Device(DeviceFilterError::Load(_) | DeviceFilterError::Attach(_)) => {
                FailureKind::Internal
            }
            _ => FailureKind::Invalid,
        }
    }
}

impl RunError {
    /// What sort of failure this is.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Lookup(error) => error.kind(),
            Self::Config(_) | Self::Incomplete(_) | Self::Unsupported(_) => FailureKind::Invalid,
            Self::Part(error) => error.kind(),
            Self::Command(error) => error.kind(),
            Self::Network(error) => error.kind(),
            Self::Volume(error) => error.kind(),
            Self::Grant(_) => FailureKind::Invalid,
            Self::Io(IoError::NoTerminals) => FailureKind::Invalid,
            Self::Layer(_)
            | Self::Root(_)
            | Self::File { .. }
            | Self::Cgroup(_)
            | Self::Io(_)
            | Self::Spawn(_) => FailureKind::Internal,
        }
    }

    /// The error as the host is told it.
    #[must_use]
    pub fn failure(&self) -> Failure {
        crate::failure(self.kind(), self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_command_is_missing_from_the_path() {
        let error = CommandError::of(Errno::NOENT, "nope").unwrap();

        assert_eq!(
            error.to_string(),
            "exec: \"nope\": executable file not found in $PATH"
        );
        assert_eq!(error.kind(), FailureKind::CommandNotFound);
    }

    #[test]
    fn a_file_of_a_foreign_format_is_not_executable() {
        let error = CommandError::of(Errno::NOEXEC, "/data").unwrap();

        assert_eq!(error.to_string(), "exec: \"/data\": exec format error");
        assert_eq!(error.kind(), FailureKind::NotExecutable);
    }

    #[test]
    fn too_little_memory_is_not_the_commands_fault() {
        assert!(CommandError::of(Errno::NOMEM, "true").is_none());
    }

    #[test]
    fn a_failure_tells_the_whole_chain() {
        let error = RunError::Spawn(SpawnError::Clone(Errno::NOMEM));

        let failure = error.failure();

        assert_eq!(failure.kind, FailureKind::Internal);
        let expected = "failed to start the container's process: failed to create a process: ";
        assert!(failure.message.starts_with(expected));
    }
}
