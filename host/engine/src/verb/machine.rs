//! The machine, asked for by name: up, down, status.

use crate::engine::Engine;
use crate::machine::{BootError, MachineStatus, StopMachineError};

impl Engine {
    /// Starts the machine unless it runs. It stays until the idle period is over.
    ///
    /// # Errors
    /// [`BootError`].
    pub async fn machine_up(&self) -> Result<MachineStatus, BootError> {
        let _lease = self.machine().acquire().await?;
        Ok(self.machine().status())
    }

    /// Stops the machine and every container in it.
    ///
    /// # Errors
    /// [`StopMachineError`]; it has ended all the same.
    pub async fn machine_down(&self) -> Result<(), StopMachineError> {
        for container in self.containers().all() {
            if container.status().phase.is_active() {
                container.request_stop(true);
            }
        }
        self.machine().stop().await
    }

    /// What the machine is doing.
    #[must_use]
    pub fn machine_status(&self) -> MachineStatus {
        self.machine().status()
    }
}
