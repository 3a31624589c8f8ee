//! What a container uses, once or again and again.

use std::sync::Arc;
use std::time::Duration;

pub use dhow_protocol::{BlockUsage, CpuUsage, InterfaceUsage, MemoryUsage, Usage};
use dhow_protocol::{Reply, Request};
use tokio::time::Instant;

use crate::class::{Classified, ErrorClass};
use crate::container::{Container, LookupError, Phase};
use crate::engine::Engine;
use crate::guest::GuestError;
use crate::time::Timestamp;

/// Between two looks, as with Docker.
const INTERVAL: Duration = Duration::from_secs(1);

/// A container's usage at a time; nothing of it where the container does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When.
    pub read: Timestamp,
    /// What was used by then.
    pub usage: Option<Usage>,
    /// The machine's memory in bytes: what there is where nothing is limited.
    pub machine_memory_bytes: u64,
}

/// Looks at one container again and again.
#[derive(Debug)]
pub struct Samples {
    engine: Engine,
    /// Whom they are of.
    pub container: Arc<Container>,
    next: Instant,
}

/// Why there is nothing to look at.
#[derive(Debug, thiserror::Error)]
pub enum StatsError {
    /// No such container.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The machine failed.
    #[error("failed to read what the container uses")]
    Guest(#[source] GuestError),
}

impl Classified for StatsError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Lookup(error) => error.class(),
            Self::Guest(_) => ErrorClass::Internal,
        }
    }
}

impl Engine {
    /// Begins to look at a container.
    ///
    /// # Errors
    /// [`LookupError`] where there is no such container.
    pub fn samples(&self, reference: &str) -> Result<Samples, LookupError> {
        Ok(Samples {
            engine: self.clone(),
            container: self.container(reference)?,
            next: Instant::now(),
        })
    }

    async fn usage(&self, container: &Container) -> Result<Sample, StatsError> {
        let mut sample = Sample {
            read: Timestamp::now(),
            usage: None,
            machine_memory_bytes: 0,
        };
        let lease = match self.machine().running() {
            Some(lease) if container.status().phase.is_running() => lease,
            _ => return Ok(sample),
        };
        let request = Request::Usage {
            container: container.id().to_string(),
        };
        match lease.guest().call(&request).await {
            Ok(Reply::Usage(usage)) => {
                sample.read = Timestamp::now();
                sample.machine_memory_bytes = lease.guest().facts().memory_bytes;
                sample.usage = Some(*usage);
                Ok(sample)
            }
            Ok(other) => Err(StatsError::Guest(GuestError::OutOfTurn(Box::new(other)))),
            // It ended just now.
            Err(_) if !container.status().phase.is_running() => Ok(sample),
            Err(GuestError::Failed(failure))
                if failure.kind == dhow_protocol::FailureKind::NotFound =>
            {
                Ok(sample)
            }
            Err(error) => Err(StatsError::Guest(error)),
        }
    }
}

impl Samples {
    /// The next sample: the first at once, each further one a second after the one before. `None` once
    /// the container is gone.
    ///
    /// # Errors
    /// [`StatsError::Guest`].
    pub async fn next(&mut self) -> Result<Option<Sample>, StatsError> {
        tokio::time::sleep_until(self.next).await;
        self.next = Instant::now() + INTERVAL;
        if self.container.status().phase == Phase::Removed {
            return Ok(None);
        }
        self.engine.usage(&self.container).await.map(Some)
    }
}
