//! Further processes in a running container: create, start, inspect, resize.

use std::io;
use std::sync::Arc;

use dhow_protocol::{ConsoleSize, ExecProcess, FailureKind, Reply, Request, Resize};
use tokio::net::UnixStream;

use super::resize::ResizeError;
use super::to_the_end;
use crate::class::{Classified, ErrorClass};
use crate::container::status::KILLED_EXIT_CODE;
use crate::container::{Container, LookupError, Phase};
use crate::engine::Engine;
use crate::exec::{Exec, ExecConfig, ExecPhase};
use crate::guest::GuestError;
use crate::id::Id;
use crate::machine::Lease;
use crate::oci::{ConfigError, ProcessOptions, process};
use crate::stream::pump::pump;
use crate::stream::{Attachment, Selection};

/// Exit code for a command that cannot be executed.
const NOT_EXECUTABLE_EXIT_CODE: i64 = 126;
/// Exit code for a command that is not there.
const NOT_FOUND_EXIT_CODE: i64 = 127;

/// Why an exec failed.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// No such container.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// No such exec.
    #[error("No such exec instance: {0}")]
    NoSuchExec(String),
    /// The container does not run.
    #[error("container {0} is not running")]
    NotRunning(String),
    /// The container is frozen.
    #[error("Container {0} is paused, unpause the container before exec")]
    Paused(String),
    /// It was started before.
    #[error("exec command {0} has already been started")]
    AlreadyStarted(String),
    /// There is nothing to run.
    #[error("No exec command specified")]
    NoCommand,
    /// The process cannot be configured.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No identifier could be made.
    #[error("failed to make an identifier")]
    Identifier(#[source] io::Error),
    /// The command is not in the container. Clients know these words.
    #[error("OCI runtime exec failed: exec: {command:?}: executable file not found in $PATH")]
    CommandNotFound {
        /// The command.
        command: String,
        /// What the agent said.
        #[source]
        source: GuestError,
    },
    /// The command cannot be executed. Clients know these words.
    #[error("OCI runtime exec failed: exec: {command:?}: permission denied")]
    NotExecutable {
        /// The command.
        command: String,
        /// What the agent said.
        #[source]
        source: GuestError,
    },
    /// The machine failed.
    #[error("failed to start the process")]
    Guest(#[source] GuestError),
}

impl Classified for ExecError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Lookup(error) => error.class(),
            Self::NoSuchExec(_) => ErrorClass::NotFound,
            Self::NotRunning(_) | Self::Paused(_) | Self::AlreadyStarted(_) => ErrorClass::Conflict,
            Self::NoCommand
            | Self::Config(_)
            | Self::CommandNotFound { .. }
            | Self::NotExecutable { .. } => ErrorClass::InvalidParameter,
            Self::Guest(GuestError::Failed(failure)) if failure.kind == FailureKind::Invalid => {
                ErrorClass::InvalidParameter
            }
            Self::Identifier(_) | Self::Guest(_) => ErrorClass::Internal,
        }
    }
}

impl Engine {
    /// Prepares a process; nothing runs yet.
    ///
    /// # Errors
    /// [`ExecError`].
    pub fn exec_create(&self, reference: &str, config: ExecConfig) -> Result<Arc<Exec>, ExecError> {
        let container = self.container(reference)?;
        must_run(&container, reference)?;
        if config.command.is_empty() {
            return Err(ExecError::NoCommand);
        }
        let id = Id::random().map_err(ExecError::Identifier)?;
        let action = format!("exec_create: {}", config.command.join(" "));
        let exec = Arc::new(Exec::new(id, container.id().clone(), config));
        self.execs().insert(Arc::clone(&exec));
        let more = [("execID", exec.id.to_string())];
        self.announce(&container, &action, &more);
        Ok(exec)
    }

    /// Starts a prepared process with a client attached; without one, its output is dropped.
    ///
    /// # Errors
    /// [`ExecError`]; the exec has ended then, with Docker's exit code for the reason.
    pub async fn exec_start(
        &self,
        id: &str,
        selection: Selection,
        console_size: Option<(u16, u16)>,
    ) -> Result<Attachment, ExecError> {
        let exec = self.exec(id)?;
        let claimed = exec.phase.send_if_modified(|phase| {
            let fresh = *phase == ExecPhase::Created;
            if fresh {
                *phase = ExecPhase::Running { pid: 0 };
            }
            fresh
        });
        if !claimed {
            return Err(ExecError::AlreadyStarted(id.to_owned()));
        }
        let attachment = exec
            .hub
            .attach(selection)
            .expect("nobody attaches to an exec but the one who starts it");
        let engine = self.clone();
        to_the_end(async move {
            let outcome = engine.launch_exec(&exec, console_size).await;
            if let Err(error) = &outcome {
                let code = exit_code(error);
                exec.phase.send_replace(ExecPhase::Exited { code });
                exec.hub.end();
            }
            outcome
        })
        .await?;
        Ok(attachment)
    }

    /// A prepared, running or ended process.
    ///
    /// # Errors
    /// [`ExecError::NoSuchExec`].
    pub fn exec(&self, id: &str) -> Result<Arc<Exec>, ExecError> {
        self.execs()
            .get(id)
            .ok_or_else(|| ExecError::NoSuchExec(id.to_owned()))
    }

    /// Ids of the processes that run in a container beside its first.
    #[must_use]
    pub fn running_execs(&self, container: &Id) -> Vec<Id> {
        self.execs().running_in(container)
    }

    /// Resizes the terminal of a further process.
    ///
    /// # Errors
    /// [`ResizeError`].
    pub async fn exec_resize(&self, id: &str, rows: u16, columns: u16) -> Result<(), ResizeError> {
        let exec = self.execs().get(id);
        let exec = exec.ok_or_else(|| ResizeError::NoSuchExec(id.to_owned()))?;
        let resize = Resize {
            container: exec.container.to_string(),
            exec: Some(exec.id.to_string()),
            size: ConsoleSize { rows, columns },
        };
        self.resize_terminal(id, resize).await
    }

    async fn launch_exec(
        &self,
        exec: &Arc<Exec>,
        console_size: Option<(u16, u16)>,
    ) -> Result<(), ExecError> {
        let container = self.container(exec.container.as_str())?;
        must_run(&container, exec.container.short())?;
        let request = request(exec, &container, console_size)?;
        let not_running = || ExecError::NotRunning(exec.container.short().to_owned());
        let lease = self.machine().running().ok_or_else(not_running)?;
        let opened = lease.guest().open(&request).await;
        let (pid, connection) = match opened.map_err(|error| blame(error, &exec.config))? {
            (Reply::Started { pid, .. }, connection) => (pid, connection),
            (other, _) => return Err(ExecError::Guest(GuestError::OutOfTurn(Box::new(other)))),
        };
        exec.phase.send_replace(ExecPhase::Running { pid });
        let action = format!("exec_start: {}", exec.config.command.join(" "));
        let more = [("execID", exec.id.to_string())];
        self.announce(&container, &action, &more);
        let (engine, exec) = (self.clone(), Arc::clone(exec));
        tokio::spawn(async move {
            engine
                .see_to_the_end(&exec, &container, connection, lease)
                .await;
        });
        Ok(())
    }

    async fn see_to_the_end(
        &self,
        exec: &Exec,
        container: &Container,
        connection: UnixStream,
        lease: Lease,
    ) {
        let code = match pump(connection, &exec.hub, None).await {
            Ok(status) => i64::from(status.code),
            Err(error) => {
                tracing::debug!(exec = exec.id.short(), %error, "exec was cut off");
                KILLED_EXIT_CODE
            }
        };
        // Before the streams end: a client asks for the exit code as soon as they do.
        exec.phase.send_replace(ExecPhase::Exited { code });
        exec.hub.end();
        let more = [
            ("execID", exec.id.to_string()),
            ("exitCode", code.to_string()),
        ];
        self.announce(container, "exec_die", &more);
        drop(lease);
    }
}

fn must_run(container: &Container, reference: &str) -> Result<(), ExecError> {
    match container.status().phase {
        Phase::Running { .. } => Ok(()),
        Phase::Paused { .. } => Err(ExecError::Paused(reference.to_owned())),
        _ => Err(ExecError::NotRunning(reference.to_owned())),
    }
}

fn request(
    exec: &Exec,
    container: &Container,
    console_size: Option<(u16, u16)>,
) -> Result<Request, ExecError> {
    let record = container.record();
    let config = &exec.config;
    let user = if config.user.is_empty() {
        record.config.user.clone()
    } else {
        config.user.clone()
    };
    let options = ProcessOptions {
        arguments: config.command.clone(),
        env: config.env.clone(),
        working_dir: config.working_dir.clone(),
        tty: config.tty,
        privileged: config.privileged,
    };
    let process = process::of_exec(&record, &options, &user)?;
    let console_size = console_size
        .or(config.console_size)
        .filter(|_| config.tty)
        .map(|(rows, columns)| ConsoleSize { rows, columns });
    Ok(Request::Exec(Box::new(ExecProcess {
        container: exec.container.to_string(),
        exec: exec.id.to_string(),
        process_json: process.to_string(),
        user,
        additional_groups: record.host_config.group_add,
        open_stdin: config.attach_stdin,
        console_size,
    })))
}

fn exit_code(error: &ExecError) -> i64 {
    match error {
        ExecError::CommandNotFound { .. } => NOT_FOUND_EXIT_CODE,
        _ => NOT_EXECUTABLE_EXIT_CODE,
    }
}

fn blame(error: GuestError, config: &ExecConfig) -> ExecError {
    let command = config.command.first().cloned().unwrap_or_default();
    let kind = match &error {
        GuestError::Failed(failure) => Some(failure.kind),
        _ => None,
    };
    match kind {
        Some(FailureKind::CommandNotFound) => ExecError::CommandNotFound {
            command,
            source: error,
        },
        Some(FailureKind::NotExecutable) => ExecError::NotExecutable {
            command,
            source: error,
        },
        _ => ExecError::Guest(error),
    }
}
