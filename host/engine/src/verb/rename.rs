//! Gives a container another name.

use crate::class::{Classified, ErrorClass};
use crate::container::LookupError;
use crate::container::registry::NameTaken;
use crate::engine::Engine;
use crate::name::{ContainerName, NameError};

/// Why a container was not renamed.
#[derive(Debug, thiserror::Error)]
pub enum RenameError {
    /// No such container.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The name is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Another container has it.
    #[error(transparent)]
    NameTaken(#[from] NameTaken),
}

impl Classified for RenameError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Lookup(error) => error.class(),
            Self::Name(_) => ErrorClass::InvalidParameter,
            Self::NameTaken(_) => ErrorClass::Conflict,
        }
    }
}

impl Engine {
    /// Renames a container.
    ///
    /// # Errors
    /// [`RenameError`].
    pub fn rename(&self, reference: &str, name: &str) -> Result<(), RenameError> {
        let container = self.container(reference)?;
        let name = ContainerName::try_from(name.to_owned())?;
        let old = container.name();
        self.containers().rename(&container, name)?;
        let more = [("oldName", format!("/{old}"))];
        self.announce(&container, "rename", &more);
        Ok(())
    }
}
