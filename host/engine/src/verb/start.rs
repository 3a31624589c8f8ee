//! Starts a container: ports, machine, layers, process; then looks after it until it ends.

use std::sync::Arc;

use dhow_protocol::{ConsoleSize, ExitStatus, FailureKind, Reply, Request, RunContainer, Signal};
use tokio::net::UnixStream;

use super::{blocking, to_the_end};
use crate::class::{Classified, ErrorClass};
use crate::container::status::KILLED_EXIT_CODE;
use crate::container::{Change, Container, LookupError, Phase, Record};
use crate::engine::Engine;
use crate::guest::{GuestError, MachineFailure};
use crate::image::{ImageError, ImageLayer};
use crate::machine::{BootError, Lease};
use crate::oci::{self, ConfigError, files};
use crate::port::{BindError, Bound, Published, bind};
use crate::signal::SignalNumber;
use crate::stream::pump::{PumpError, pump};
use crate::time::Timestamp;

/// Exit code of a container that could not be started, unless the command is to blame.
const START_FAILED_EXIT_CODE: i64 = 128;
/// Exit code for a command that cannot be executed.
const NOT_EXECUTABLE_EXIT_CODE: i64 = 126;
/// Exit code for a command that is not there.
const NOT_FOUND_EXIT_CODE: i64 = 127;

/// Why a container did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No such container.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// It runs already.
    #[error("container already started")]
    AlreadyStarted,
    /// It is being removed.
    #[error("container is marked for removal and cannot be started")]
    BeingRemoved,
    /// Its image is gone.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A port could not be published.
    #[error("driver failed programming external connectivity")]
    Port(#[from] BindError),
    /// Its stored configuration makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A stored extra host makes no sense.
    #[error(transparent)]
    ExtraHost(#[from] files::ExtraHostError),
    /// There is no machine.
    #[error(transparent)]
    Machine(#[from] BootError),
    /// A layer could not be given to the machine.
    #[error("failed to give a layer to the machine")]
    Layer(#[source] MachineFailure),
    /// The command is not in the container. Clients know the agent's words, which are runc's.
    #[error(transparent)]
    CommandNotFound(GuestError),
    /// The command cannot be executed. Clients know these words.
    #[error("exec: {command:?}: permission denied")]
    NotExecutable {
        /// The command.
        command: String,
        /// What the agent said.
        #[source]
        source: GuestError,
    },
    /// The machine refused or failed.
    #[error("failed to start the container's process")]
    Guest(#[source] GuestError),
}

impl Classified for StartError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Lookup(error) => error.class(),
            Self::AlreadyStarted => ErrorClass::NotModified,
            Self::BeingRemoved => ErrorClass::Conflict,
            Self::Image(error) => error.class(),
            Self::Port(error) => error.class(),
            Self::Config(_)
            | Self::ExtraHost(_)
            | Self::CommandNotFound(_)
            | Self::NotExecutable { .. } => ErrorClass::InvalidParameter,
            Self::Guest(GuestError::Failed(failure)) if failure.kind == FailureKind::Invalid => {
                ErrorClass::InvalidParameter
            }
            Self::Machine(_) | Self::Layer(_) | Self::Guest(_) => ErrorClass::Internal,
        }
    }
}

impl StartError {
    /// Whether the machine, not the request, was the reason.
    fn is_loss_of_machine(&self) -> bool {
        matches!(
            self,
            Self::Layer(_) | Self::Guest(GuestError::Unreachable(_))
        )
    }

    fn exit_code(&self) -> i64 {
        match self {
            Self::CommandNotFound(_) => NOT_FOUND_EXIT_CODE,
            Self::NotExecutable { .. } => NOT_EXECUTABLE_EXIT_CODE,
            _ => START_FAILED_EXIT_CODE,
        }
    }
}

/// A process that has just started.
struct Entered {
    pid: u32,
    /// What was asked for and could not be had.
    warnings: Vec<String>,
    connection: UnixStream,
}

/// Gives the machine the layers and starts the process on it.
async fn enter(
    lease: &Lease,
    layers: Vec<ImageLayer>,
    mut run: RunContainer,
    record: &Record,
) -> Result<Entered, StartError> {
    for layer in layers {
        let range = lease.guest().map_layer(layer.path).await;
        run.layers.push(range.map_err(StartError::Layer)?);
    }
    let request = Request::Run(Box::new(run));
    let opened = lease.guest().open(&request).await;
    match opened.map_err(|error| blame(error, record))? {
        (Reply::Started { pid, warnings }, connection) => Ok(Entered {
            pid,
            warnings,
            connection,
        }),
        (other, _) => Err(StartError::Guest(GuestError::OutOfTurn(Box::new(other)))),
    }
}

/// A process that runs, not yet looked after.
struct Launched {
    lease: Lease,
    entered: Entered,
    ports: Vec<Bound>,
}

impl Engine {
    /// Starts a container; its ports are open when this returns. The lines returned are for the
    /// user: limits that the machine's kernel does not know, and that were discarded.
    ///
    /// # Errors
    /// [`StartError`]; the container is as before, with the reason in its state.
    pub async fn start(&self, reference: &str) -> Result<Vec<String>, StartError> {
        let container = self.container(reference)?;
        let engine = self.clone();
        to_the_end(async move { engine.start_container(&container).await }).await
    }

    pub(super) async fn start_container(
        &self,
        container: &Arc<Container>,
    ) -> Result<Vec<String>, StartError> {
        if let Err(forbidden) = container.change(Change::Start) {
            tracing::debug!(%forbidden, "not started");
            return Err(match container.status().phase {
                Phase::Removing | Phase::Removed => StartError::BeingRemoved,
                _ => StartError::AlreadyStarted,
            });
        }
        container.request_stop(false);
        self.note_activity();
        match self.launch(&container.record()).await {
            Ok(launched) => {
                let warnings = launched.entered.warnings.clone();
                for warning in &warnings {
                    tracing::warn!(container = container.id().short(), warning, "started");
                }
                self.look_after(container, launched);
                Ok(warnings)
            }
            Err(error) => {
                self.note_failed_start(container, &error).await;
                Err(error)
            }
        }
    }

    async fn note_failed_start(&self, container: &Arc<Container>, error: &StartError) {
        let _was_starting = container.change(Change::StartFailed {
            exit_code: error.exit_code(),
            error: error.to_string(),
        });
        container.hub.end();
        self.note_activity();
        if container.record().host_config.auto_remove {
            self.remove_ended(container).await;
        }
    }

    async fn launch(&self, record: &Record) -> Result<Launched, StartError> {
        let images = Arc::clone(self.images());
        let image_id = record.image_id.clone();
        let image = blocking(move || images.resolve(&image_id)).await?;
        let ports = bind(&record.host_config.port_bindings, self.ports()).await?;
        let run = run_request(record)?;
        let lease = self.machine().acquire().await?;
        let entered = match enter(&lease, image.layers.clone(), run.clone(), record).await {
            // It died just now, and the supervisor may not have noticed: the next one is sound.
            Err(error) if error.is_loss_of_machine() => {
                self.machine().until_lost(lease.guest()).await;
                drop(lease);
                let lease = self.machine().acquire().await?;
                let entered = enter(&lease, image.layers, run, record).await?;
                (lease, entered)
            }
            entered => (lease, entered?),
        };
        let (lease, entered) = entered;
        Ok(Launched {
            lease,
            entered,
            ports,
        })
    }

    /// Opens the ports and leaves a task that sees to the container's end.
    fn look_after(&self, container: &Arc<Container>, launched: Launched) {
        let Launched {
            lease,
            entered,
            ports,
        } = launched;
        let Entered {
            pid, connection, ..
        } = entered;
        let published = Published::serve(ports, lease.guest(), container.id());
        *container.locked_ports() = Some(published);
        let started = Change::Started {
            pid,
            at: Timestamp::now(),
        };
        let _was_starting = container.change(started);
        self.announce(container, "start", &[]);
        let (engine, container) = (self.clone(), Arc::clone(container));
        tokio::spawn(async move {
            let outcome = pump(connection, &container.hub, Some(&container.log)).await;
            if let Err(PumpError::Malformed(_) | PumpError::Exit(_)) = &outcome {
                kill_unreadable(&lease, &container).await;
            }
            engine.note_end(&container, outcome);
            if container.record().host_config.auto_remove {
                engine.remove_ended(&container).await;
            }
            drop(lease);
            engine.note_activity();
        });
    }

    fn note_end(&self, container: &Container, outcome: Result<ExitStatus, PumpError>) {
        container.log.finish();
        drop(container.locked_ports().take());
        let (exit_code, oom_killed, error) = match outcome {
            Ok(status) => (i64::from(status.code), status.oom_killed, String::new()),
            Err(error) => {
                tracing::warn!(container = container.id().short(), %error, "container was cut off");
                (KILLED_EXIT_CODE, false, error.to_string())
            }
        };
        let started_at = container.status().started_at;
        let at = Timestamp::now();
        let _was_running = container.change(Change::Ended {
            exit_code,
            oom_killed,
            error,
            at,
        });
        container.hub.end();
        if oom_killed {
            self.announce(container, "oom", &[]);
        }
        let seconds = started_at.map_or(0, |started| started.until(at).as_secs());
        let more = [
            ("exitCode", exit_code.to_string()),
            ("execDuration", seconds.to_string()),
        ];
        self.announce(container, "die", &more);
    }
}

/// A process whose streams cannot be read any more must not run on unseen.
async fn kill_unreadable(lease: &Lease, container: &Container) {
    let request = Request::Signal(Signal {
        container: container.id().to_string(),
        exec: None,
        signal: SignalNumber::KILL.number(),
        all: true,
    });
    if let Err(error) = lease.guest().call(&request).await {
        tracing::warn!(%error, "failed to kill a container whose streams broke");
    }
}

fn run_request(record: &Record) -> Result<RunContainer, StartError> {
    let config = &record.config;
    let console_size = record
        .host_config
        .console_size
        .filter(|_| config.tty)
        .map(|(rows, columns)| ConsoleSize { rows, columns });
    Ok(RunContainer {
        id: record.id.to_string(),
        config_json: oci::config(record)?.to_string(),
        user: config.user.clone(),
        additional_groups: record.host_config.group_add.clone(),
        layers: Vec::new(),
        hosts: files::hosts(record)?,
        resolv_conf: files::resolv_conf(record),
        open_stdin: config.open_stdin,
        init: record.host_config.init,
        console_size,
    })
}

fn blame(error: GuestError, record: &Record) -> StartError {
    let command = record.arguments.first().cloned().unwrap_or_default();
    let kind = match &error {
        GuestError::Failed(failure) => Some(failure.kind),
        _ => None,
    };
    match kind {
        Some(FailureKind::CommandNotFound) => StartError::CommandNotFound(error),
        Some(FailureKind::NotExecutable) => StartError::NotExecutable {
            command,
            source: error,
        },
        _ => StartError::Guest(error),
    }
}
