//! Stops a container: its stop signal, time to end by itself, SIGKILL.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::kill::KillError;
use super::to_the_end;
use crate::class::{Classified, ErrorClass};
use crate::container::{Change, Container, LookupError, Phase};
use crate::engine::Engine;
use crate::signal::{SignalError, SignalNumber};

/// Docker's default time to end by itself.
const DEFAULT_TIMEOUT_SECONDS: u32 = 10;

/// How long the end may take after SIGKILL before we say that something is wrong: output still has
/// to be taken by clients and disks.
const KILL_TIMEOUT: Duration = Duration::from_secs(15);

/// How to stop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StopOptions {
    /// Instead of the container's stop signal.
    pub signal: Option<String>,
    /// Seconds before SIGKILL, instead of the container's; -1 is never.
    pub timeout_seconds: Option<i64>,
}

/// Why a container was not stopped.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// No such container.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// It does not run.
    #[error("container already stopped")]
    NotRunning,
    /// No such signal.
    #[error(transparent)]
    Signal(#[from] SignalError),
    /// A signal could not be sent.
    #[error(transparent)]
    Kill(#[from] KillError),
    /// It lives on after SIGKILL.
    #[error("container did not end {} s after it was killed", KILL_TIMEOUT.as_secs())]
    Survived,
}

impl Classified for StopError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Lookup(error) => error.class(),
            Self::NotRunning => ErrorClass::NotModified,
            Self::Signal(error) => error.class(),
            Self::Kill(error) => error.class(),
            Self::Survived => ErrorClass::Internal,
        }
    }
}

impl Engine {
    /// Stops a container; it has ended when this returns.
    ///
    /// # Errors
    /// [`StopError`].
    pub async fn stop(&self, reference: &str, options: StopOptions) -> Result<(), StopError> {
        let container = self.container(reference)?;
        let engine = self.clone();
        to_the_end(async move { engine.stop_container(&container, &options).await }).await
    }

    pub(super) async fn stop_container(
        &self,
        container: &Arc<Container>,
        options: &StopOptions,
    ) -> Result<(), StopError> {
        let config = container.record().config;
        let signal = options.signal.as_ref().or(config.stop_signal.as_ref());
        let signal = match signal {
            Some(text) => SignalNumber::parse(text)?,
            None => SignalNumber::TERM,
        };
        let settled = container.until(|now| now.phase != Phase::Starting).await;
        if container.change(Change::GiveUp).is_ok() {
            container.stopped_by_user();
            self.note_activity();
            self.announce(container, "stop", &[]);
            return Ok(());
        }
        if !settled.phase.is_running() {
            return Err(StopError::NotRunning);
        }
        container.stopped_by_user();
        container.request_stop(true);
        if let Phase::Paused { .. } = container.status().phase {
            let _thawed = self.set_frozen(container, false).await;
        }
        let signalled = self.signal(container, signal).await;
        let grace = options.timeout_seconds.unwrap_or_else(|| {
            i64::from(
                config
                    .stop_timeout_seconds
                    .unwrap_or(DEFAULT_TIMEOUT_SECONDS),
            )
        });
        let end = container.until(|now| !now.phase.is_active());
        let in_time = match u64::try_from(grace) {
            _ if signalled.is_err() => false,
            Ok(seconds) => timeout(Duration::from_secs(seconds), end).await.is_ok(),
            Err(_forever) => {
                end.await;
                true
            }
        };
        if !in_time {
            self.kill_container(container).await?;
        }
        self.announce(container, "stop", &[]);
        Ok(())
    }

    /// Ends a container's process at once, and waits until that is noted.
    pub(super) async fn kill_container(&self, container: &Arc<Container>) -> Result<(), StopError> {
        let settled = container.until(|now| now.phase != Phase::Starting).await;
        if container.change(Change::GiveUp).is_ok() {
            self.note_activity();
            return Ok(());
        }
        if settled.phase.is_running() {
            self.signal(container, SignalNumber::KILL).await?;
        }
        let end = container.until(|now| !now.phase.is_active());
        match timeout(KILL_TIMEOUT, end).await {
            Ok(_ended) => Ok(()),
            Err(_elapsed) => Err(StopError::Survived),
        }
    }
}
