//! Attaches a client to a container's streams, running or about to.

use crate::class::{Classified, ErrorClass};
use crate::container::{LookupError, Phase};
use crate::engine::Engine;
use crate::stream::hub::Crowded;
use crate::stream::{Attachment, Selection};

/// Why a client was not attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// No such container.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// It is frozen.
    #[error("container {0} is paused, unpause the container before attach")]
    Paused(String),
    /// Too many are attached.
    #[error(transparent)]
    Crowded(#[from] Crowded),
}

impl Classified for AttachError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Lookup(error) => error.class(),
            Self::Paused(_) | Self::Crowded(_) => ErrorClass::Conflict,
        }
    }
}

/// An attached client.
#[derive(Debug)]
pub struct Attached {
    /// Its streams.
    pub attachment: Attachment,
    /// Whether output goes raw, without headers.
    pub tty: bool,
    /// Whether the process's input ends when this client's does.
    pub end_input_with_client: bool,
}

impl Engine {
    /// Attaches a client. A container that does not run yet may be attached to: `docker run` does so
    /// before it starts it, to miss nothing.
    ///
    /// # Errors
    /// [`AttachError`].
    pub fn attach(
        &self,
        reference: &str,
        mut selection: Selection,
    ) -> Result<Attached, AttachError> {
        let container = self.container(reference)?;
        let config = container.record().config;
        if let Phase::Paused { .. } = container.status().phase {
            return Err(AttachError::Paused(reference.to_owned()));
        }
        selection.stdin &= config.open_stdin;
        let attachment = container.hub.attach(selection)?;
        self.announce(&container, "attach", &[]);
        Ok(Attached {
            attachment,
            tty: config.tty,
            end_input_with_client: config.stdin_once && !config.tty,
        })
    }
}
