//! Changes the limits of a running container.

use dhow_protocol::{Failure, FailureKind};
use oci_spec::runtime::LinuxResources;

use crate::cgroup::{LimitError, limits};
use crate::container::LookupError;
use crate::runtime::Runtime;

/// Why limits were not changed.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// There is no such container.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The resources object is none.
    #[error("the limits are not a valid OCI resources object")]
    Config(#[source] serde_json::Error),
    /// A limit was refused.
    #[error("failed to change the limits of container {container}")]
    Limit {
        /// The container.
        container: String,
        /// Why.
        #[source]
        source: LimitError,
    },
}

impl UpdateError {
    /// The error as the host is told it.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let kind = match self {
            Self::Lookup(error) => error.kind(),
            Self::Config(_) => FailureKind::Invalid,
            // Usually less memory than is in use.
            Self::Limit { .. } => FailureKind::Conflict,
        };
        crate::failure(kind, self)
    }
}

impl Runtime {
    /// Sets the limits that an OCI `linux.resources` object has, leaving the others as they are;
    /// device rules in it are not looked at. Returns warnings about limits that were discarded.
    ///
    /// # Errors
    /// [`UpdateError`]; limits before the one that was refused are set then.
    pub fn update(
        &self,
        container: &str,
        resources_json: &str,
    ) -> Result<Vec<String>, UpdateError> {
        let found = self.register.get(container)?;
        let resources: LinuxResources =
            serde_json::from_str(resources_json).map_err(UpdateError::Config)?;
        limits::apply(&found.cgroup, &resources).map_err(|source| UpdateError::Limit {
            container: container.to_owned(),
            source,
        })
    }
}
