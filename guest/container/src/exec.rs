//! Starts a further process in a running container.

use std::os::fd::AsFd;
use std::sync::{Arc, PoisonError};

use dhow_protocol::{ExecProcess, Failure, FailureKind};
use oci_spec::runtime::Process as OciProcess;
use rustix::thread::ThreadNameSpaceType;

use crate::container::{Container, LookupError, Running};
use crate::io::{IoError, StreamRequest, Streams};
use crate::plan::capability;
use crate::plan::process::{self, Surroundings};
use crate::run::{
    CommandError, PartError, clone_descriptor, first_argument, resolve_user, streams,
};
use crate::runtime::{Process, Runtime};
use crate::spawn::{Plan, SpawnError, Step};

/// Why a further process did not start.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The container does not run, or is paused, or the exec's id is taken.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The process object is none.
    #[error("the process is not a valid OCI process object")]
    Config(#[source] serde_json::Error),
    /// One part of the process cannot be as asked.
    #[error(transparent)]
    Part(#[from] PartError),
    /// Its input and output cannot be made.
    #[error(transparent)]
    Io(#[from] IoError),
    /// The command cannot be executed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The process cannot be made.
    #[error("failed to start a process in the container")]
    Spawn(#[source] SpawnError),
}

impl ExecError {
    /// What sort of failure this is.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Lookup(error) => error.kind(),
            Self::Config(_) => FailureKind::Invalid,
            Self::Part(error) => error.kind(),
            Self::Command(error) => error.kind(),
            Self::Io(IoError::NoTerminals) => FailureKind::Invalid,
            Self::Io(_) | Self::Spawn(_) => FailureKind::Internal,
        }
    }

    /// The error as the host is told it.
    #[must_use]
    pub fn failure(&self) -> Failure {
        crate::failure(self.kind(), self)
    }
}

impl Runtime {
    /// Starts a further process in a running container, in its namespaces, its cgroup and under
    /// its system call filter.
    ///
    /// Returns when that process has executed its program. The caller waits for its end at
    /// [`Process::exit`] and then calls [`Runtime::exec_finished`].
    ///
    /// # Errors
    /// [`ExecError`]; then no process is left.
    pub fn exec(&self, request: &ExecProcess) -> Result<Process, ExecError> {
        let container = self.register.get(&request.container)?;
        if *container
            .frozen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
        {
            return Err(LookupError::Paused(request.container.clone()).into());
        }
        let name = container.reserve_exec(&request.exec)?;
        let oci: OciProcess =
            serde_json::from_str(&request.process_json).map_err(ExecError::Config)?;
        let user = resolve_user(
            &container.root,
            &oci,
            &request.user,
            &request.additional_groups,
        )?;
        let mut streams = streams(
            &oci,
            container.devpts.as_ref().map(AsFd::as_fd),
            StreamRequest {
                owner: user.uid,
                open_stdin: request.open_stdin,
                size: request.console_size,
                null: self.machine.null.as_fd(),
            },
        )?;
        let surroundings = Surroundings {
            user: &user,
            seccomp: container.seccomp.as_ref(),
            known_capabilities: self.machine.known_capabilities,
            init: None,
        };
        let steps = self.exec_steps(&container, &oci, &mut streams, surroundings)?;

        let ticket = self.reaper.begin();
        let may_trace = container.may_trace || capability::may_trace(oci.capabilities().as_ref());
        let plan = Plan {
            steps: &steps,
            namespaces: 0,
            cgroup: container.cgroup.folder(),
            exposed: may_trace,
        };
        let namespace = Some((*container.init.pidfd).as_fd());
        let spawned = self
            .spawn(&plan, namespace)
            .map_err(|error| command_error(error, &oci, request))?;
        let exit = ticket.register(spawned.pid);
        let pidfd = Arc::new(spawned.pidfd);
        let own_pidfd = clone_descriptor(&pidfd)?;
        name.fill(Running {
            pidfd,
            terminal: streams.terminal,
        });
        Ok(Process {
            pid: spawned.pid,
            pidfd: own_pidfd,
            io: streams.io,
            exit,
            warnings: Vec::new(),
        })
    }

    fn exec_steps(
        &self,
        container: &Container,
        oci: &OciProcess,
        streams: &mut Streams,
        surroundings: Surroundings<'_>,
    ) -> Result<Vec<Step>, PartError> {
        let mut steps = self.first_steps(oci, streams)?;
        let kinds = ThreadNameSpaceType::MOUNT
            | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
            | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
            | ThreadNameSpaceType::NETWORK
            | ThreadNameSpaceType::CONTROL_GROUP;
        steps.push(Step::JoinProcess(Arc::clone(&container.init.pidfd), kinds));
        if streams.terminal_number.is_some() {
            steps.push(Step::ControllingTerminal);
        }
        steps.push(Step::Umask(0));
        steps.push(process::working_directory(oci)?);
        steps.extend(process::steps(oci, surroundings)?);
        Ok(steps)
    }
}

/// An error of a start, as the command's or the container's where it is.
fn command_error(error: SpawnError, oci: &OciProcess, request: &ExecProcess) -> ExecError {
    let gone = || LookupError::NotRunning(request.container.clone()).into();
    match (&error, first_argument(oci)) {
        (SpawnError::Execute(errno), Some(command)) => match CommandError::of(*errno, command) {
            Some(error) => error.into(),
            None => ExecError::Spawn(error),
        },
        // The first process ended between the lookup and the start.
        (SpawnError::EnterPidNamespace(rustix::io::Errno::SRCH), _) => gone(),
        (SpawnError::Clone(rustix::io::Errno::NOMEM | rustix::io::Errno::NODEV), _) => gone(),
        _ => ExecError::Spawn(error),
    }
}
