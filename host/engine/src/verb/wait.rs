//! Waits for a container's end.

use std::sync::Arc;

use tokio::sync::watch;

use crate::container::{Container, LookupError, Phase, Status};
use crate::engine::Engine;

/// What to wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WaitCondition {
    /// That no process runs, which may be so already.
    #[default]
    NotRunning,
    /// The next end of a process.
    NextExit,
    /// That the container is gone.
    Removed,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitOutcome {
    /// Its exit code.
    pub exit_code: i64,
    /// Why it was cut short, or empty.
    pub error: String,
}

/// Somebody who waits, counted from when the wait was asked for.
#[derive(Debug)]
pub struct Waiter {
    /// Keeps the sender of `status` alive.
    _container: Arc<Container>,
    status: watch::Receiver<Status>,
    condition: WaitCondition,
    exits_before: u64,
}

impl Engine {
    /// Begins to wait: what happens after this returns is not missed.
    ///
    /// # Errors
    /// [`LookupError`] where there is no such container.
    pub fn wait(&self, reference: &str, condition: WaitCondition) -> Result<Waiter, LookupError> {
        let container = self.container(reference)?;
        let status = container.watch();
        let exits_before = status.borrow().exits;
        Ok(Waiter {
            _container: container,
            status,
            condition,
            exits_before,
        })
    }
}

impl Waiter {
    /// Waits.
    pub async fn outcome(mut self) -> WaitOutcome {
        let (condition, before) = (self.condition, self.exits_before);
        let met = |status: &Status| match condition {
            WaitCondition::NotRunning => !status.phase.is_active(),
            WaitCondition::NextExit => status.exits > before || status.phase == Phase::Removed,
            WaitCondition::Removed => status.phase == Phase::Removed,
        };
        match self.status.wait_for(met).await {
            Ok(status) => WaitOutcome {
                exit_code: status.exit_code,
                error: status.error.clone(),
            },
            Err(_) => unreachable!("the container holds the sender and self holds the container"),
        }
    }
}
