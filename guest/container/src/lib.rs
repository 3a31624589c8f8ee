//! Runs containers on this machine: namespaces, cgroup v2, overlay over EROFS layers.
//!
//! This is the container runtime that dhow's agent, process 1 of the microVM, calls in process. It
//! takes OCI runtime-spec configurations; everything it does is synchronous, and every verb may be
//! called from many threads at once.
//!
//! | verb | file | what |
//! | --- | --- | --- |
//! | [`Runtime::run`] | `run.rs` | sets a container up and starts its first process |
//! | [`Runtime::exec`] | `exec.rs` | starts a further process in it |
//! | [`Runtime::signal`] | `signal.rs` | sends a signal |
//! | [`Runtime::resize`] | `resize.rs` | changes a terminal's size |
//! | [`Runtime::pause`] | `pause.rs` | freezes and thaws |
//! | [`Runtime::attach`], [`Runtime::detach`] | `network/attach.rs` | connects and disconnects |
//! | [`Runtime::network_namespace`] | `network/namespace.rs` | lets the agent connect to its ports |
//! | [`Runtime::processes`] | `processes.rs` | lists its processes |
//! | [`Runtime::usage`] | `usage.rs` | tells what it uses |
//! | [`Runtime::update`] | `update.rs` | changes its limits |
//! | [`Runtime::files`] | `files/` | reads and writes its files, as archives |
//! | [`Runtime::finished`] | `finish.rs` | clears up after the first process has ended |
//! | [`Runtime::remove`] | `remove.rs` | deletes what the data disk holds |
//! | [`Runtime::shutdown`] | `shutdown.rs` | ends everything |
//!
//! How a start works: the agent resolves everything it can and writes down what is left as a list
//! of steps (`plan`); `clone3` makes a child in the new namespaces and the container's cgroup;
//! the child walks the steps and executes the program (`spawn`). A start that fails leaves
//! nothing behind. `reaper` says how exit statuses find their way.

mod cgroup;
mod container;
mod exec;
mod files;
mod finish;
mod init;
mod io;
mod network;
mod pause;
mod plan;
mod processes;
mod reaper;
mod remove;
mod resize;
mod rootfs;
mod run;
mod runtime;
mod seccomp;
mod shutdown;
mod signal;
mod spawn;
mod update;
mod usage;
mod user;

pub use crate::cgroup::{CgroupError, DeviceFilterError, LimitError};
pub use crate::container::LookupError;
pub use crate::exec::ExecError;
pub use crate::files::{ChangeKind, Files, FilesError, UnpackOptions};
pub use crate::finish::{FinishError, Finished};
pub use crate::init::init_if_requested;
pub use crate::io::{IoError, ProcessIo};
pub use crate::network::{NetlinkError, NetworkError};
pub use crate::pause::PauseError;
pub use crate::plan::ZeroByte;
pub use crate::plan::mounts::MountError;
pub use crate::plan::namespaces::NamespaceError;
pub use crate::plan::process::ProcessError;
pub use crate::plan::system::SystemError;
pub use crate::processes::ProcessesError;
pub use crate::reaper::{Exit, ExitWatch};
pub use crate::remove::RemoveError;
pub use crate::resize::ResizeError;
pub use crate::rootfs::{DeviceMapperError, LayerError, RootError};
pub use crate::run::{CommandError, PartError, RunError};
pub use crate::runtime::{Paths, Process, Runtime, SetupError, make_root_pivotable};
pub use crate::seccomp::SeccompError;
pub use crate::shutdown::ShutdownError;
pub use crate::signal::SignalError;
pub use crate::spawn::SpawnError;
pub use crate::update::UpdateError;
pub use crate::usage::UsageError;
pub use crate::user::UserError;

use dhow_protocol::{Failure, FailureKind};

/// An error as the host is told it: its kind, and the whole chain of causes in one line.
pub(crate) fn failure(kind: FailureKind, error: &dyn std::error::Error) -> Failure {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message.push_str(": ");
        message.push_str(&error.to_string());
        cause = error.source();
    }
    Failure { kind, message }
}
