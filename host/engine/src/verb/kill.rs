//! Sends a signal to a container's process.

use dhow_protocol::{FailureKind, Request, Signal};

use crate::class::{Classified, ErrorClass};
use crate::container::{Change, Container, LookupError, Phase};
use crate::engine::Engine;
use crate::guest::GuestError;
use crate::signal::{SignalError, SignalNumber};

/// Why a signal was not sent.
#[derive(Debug, thiserror::Error)]
pub enum KillError {
    /// No such container.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// No such signal.
    #[error(transparent)]
    Signal(#[from] SignalError),
    /// No process to send it to.
    #[error("cannot kill container: {0}: container {0} is not running")]
    NotRunning(String),
    /// The machine failed.
    #[error("failed to send a signal to the container")]
    Guest(#[source] GuestError),
}

impl Classified for KillError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Lookup(error) => error.class(),
            Self::Signal(error) => error.class(),
            Self::NotRunning(_) => ErrorClass::Conflict,
            Self::Guest(_) => ErrorClass::Internal,
        }
    }
}

impl Engine {
    /// Sends a signal by name or number; SIGKILL without one.
    ///
    /// # Errors
    /// [`KillError`].
    pub async fn kill(&self, reference: &str, signal: Option<&str>) -> Result<(), KillError> {
        let container = self.container(reference)?;
        let signal = match signal {
            None | Some("") => SignalNumber::KILL,
            Some(text) => SignalNumber::parse(text)?,
        };
        let ends_it = signal == SignalNumber::KILL || signal == stop_signal(&container);
        if ends_it && container.change(Change::GiveUp).is_ok() {
            container.stopped_by_user();
            self.note_activity();
            return Ok(());
        }
        if !container.status().phase.is_running() {
            return Err(KillError::NotRunning(reference.to_owned()));
        }
        if ends_it {
            // Its restart policy must not undo what was asked for.
            container.stopped_by_user();
        }
        self.signal(&container, signal).await?;
        Ok(())
    }

    /// Sends a signal to a further process; one that has just ended needs none.
    pub(super) async fn signal_exec(
        &self,
        container: &Container,
        exec: &str,
        signal: SignalNumber,
    ) {
        let Some(lease) = self.machine().running() else {
            return;
        };
        let request = Request::Signal(Signal {
            container: container.id().to_string(),
            exec: Some(exec.to_owned()),
            signal: signal.number(),
            all: false,
        });
        if let Err(error) = lease.guest().call(&request).await {
            tracing::debug!(%error, "failed to send a signal to an exec");
        }
    }

    /// Sends a signal to a process that may just have ended, which is fine.
    pub(super) async fn signal(
        &self,
        container: &Container,
        signal: SignalNumber,
    ) -> Result<(), KillError> {
        if signal == SignalNumber::KILL {
            // Its last output must not wait for a client that takes nothing.
            container.hub.expect_end();
        }
        let more = [("signal", signal.number().to_string())];
        self.announce(container, "kill", &more);
        let Some(lease) = self.machine().running() else {
            return Ok(());
        };
        let id = container.id().to_string();
        if let (Phase::Paused { .. }, SignalNumber::KILL) = (container.status().phase, signal) {
            let thaw = Request::Pause {
                container: id.clone(),
                frozen: false,
            };
            let _killed_frozen = lease.guest().call(&thaw).await;
        }
        let request = Request::Signal(Signal {
            container: id,
            exec: None,
            signal: signal.number(),
            all: false,
        });
        match lease.guest().call(&request).await {
            Ok(_) => Ok(()),
            Err(GuestError::Failed(failure))
                if matches!(failure.kind, FailureKind::NotFound | FailureKind::Conflict) =>
            {
                Ok(())
            }
            // Its end is told by the connection that breaks.
            Err(GuestError::Unreachable(_)) if !container.status().phase.is_running() => Ok(()),
            Err(error) => Err(KillError::Guest(error)),
        }
    }
}

/// What asks a container to end.
fn stop_signal(container: &Container) -> SignalNumber {
    let named = container.record().config.stop_signal;
    let parsed = named.and_then(|signal| SignalNumber::parse(&signal).ok());
    parsed.unwrap_or(SignalNumber::TERM)
}
