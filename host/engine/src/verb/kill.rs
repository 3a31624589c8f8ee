//! Sends a signal to a container's process.

use dhow_protocol::{FailureKind, Request, Signal};

use crate::class::{Classified, ErrorClass};
use crate::container::{Container, LookupError, Phase};
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
        if !container.status().phase.is_running() {
            return Err(KillError::NotRunning(reference.to_owned()));
        }
        self.signal(&container, signal).await?;
        Ok(())
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
