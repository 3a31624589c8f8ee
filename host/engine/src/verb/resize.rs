//! Sets the size of a container's terminal.

use dhow_protocol::{ConsoleSize, Request, Resize};

use crate::class::{Classified, ErrorClass};
use crate::container::LookupError;
use crate::engine::Engine;
use crate::guest::GuestError;

/// Why a terminal was not resized.
#[derive(Debug, thiserror::Error)]
pub enum ResizeError {
    /// No such container.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// No such exec.
    #[error("No such exec instance: {0}")]
    NoSuchExec(String),
    /// No process, no terminal.
    #[error("cannot resize a stopped container: container {0} is not running")]
    NotRunning(String),
    /// The machine failed.
    #[error("failed to resize the terminal")]
    Guest(#[source] GuestError),
}

impl Classified for ResizeError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Lookup(error) => error.class(),
            Self::NoSuchExec(_) => ErrorClass::NotFound,
            Self::NotRunning(_) => ErrorClass::Conflict,
            Self::Guest(_) => ErrorClass::Internal,
        }
    }
}

impl Engine {
    /// Resizes a container's terminal.
    ///
    /// # Errors
    /// [`ResizeError`].
    pub async fn resize(
        &self,
        reference: &str,
        rows: u16,
        columns: u16,
    ) -> Result<(), ResizeError> {
        let container = self.container(reference)?;
        if !container.status().phase.is_running() {
            return Err(ResizeError::NotRunning(reference.to_owned()));
        }
        let more = [("height", rows.to_string()), ("width", columns.to_string())];
        self.announce(&container, "resize", &more);
        self.resize_terminal(
            reference,
            Resize {
                container: container.id().to_string(),
                exec: None,
                size: ConsoleSize { rows, columns },
            },
        )
        .await
    }

    pub(super) async fn resize_terminal(
        &self,
        reference: &str,
        resize: Resize,
    ) -> Result<(), ResizeError> {
        let Some(lease) = self.machine().running() else {
            return Err(ResizeError::NotRunning(reference.to_owned()));
        };
        let request = Request::Resize(resize);
        lease
            .guest()
            .call(&request)
            .await
            .map_err(ResizeError::Guest)?;
        Ok(())
    }
}
