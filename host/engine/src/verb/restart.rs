//! Restarts a container: stop, if it runs, and start.

use super::start::StartError;
use super::stop::{StopError, StopOptions};
use super::to_the_end;
use crate::class::{Classified, ErrorClass};
use crate::container::LookupError;
use crate::engine::Engine;

/// Why a container was not restarted.
#[derive(Debug, thiserror::Error)]
pub enum RestartError {
    /// No such container.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// It could not be stopped.
    #[error(transparent)]
    Stop(#[from] StopError),
    /// It could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl Classified for RestartError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Lookup(error) => error.class(),
            Self::Stop(error) => error.class(),
            Self::Start(error) => error.class(),
        }
    }
}

impl Engine {
    /// Restarts a container.
    ///
    /// # Errors
    /// [`RestartError`].
    pub async fn restart(&self, reference: &str, options: StopOptions) -> Result<(), RestartError> {
        let container = self.container(reference)?;
        let engine = self.clone();
        to_the_end(async move {
            match engine.stop_container(&container, &options).await {
                Ok(()) | Err(StopError::NotRunning) => {}
                Err(error) => return Err(error.into()),
            }
            engine.start_container(&container).await?;
            engine.announce(&container, "restart", &[]);
            Ok(())
        })
        .await
    }
}
