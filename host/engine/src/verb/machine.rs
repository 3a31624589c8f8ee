//! The machine, asked for by name: up, down, status.

use std::io;

use crate::class::{Classified, ErrorClass};
use crate::container::Change;
use crate::engine::Engine;
use crate::machine::{BootError, MachineStatus, StopMachineError};

/// Why the machine was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveMachineError {
    /// It could not be stopped.
    #[error(transparent)]
    Stop(#[from] StopMachineError),
    /// Its data disk could not be removed.
    #[error("failed to remove the machine's data disk")]
    DataDisk(#[source] io::Error),
}

impl Classified for RemoveMachineError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Internal
    }
}

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
                // What waits for its restart must not bring the machine back.
                let _was_waiting = container.change(Change::GiveUp);
            }
        }
        self.machine().stop().await
    }

    /// Removes the machine's data disk, and with it the files of every container; the machine is
    /// stopped first.
    ///
    /// # Errors
    /// [`RemoveMachineError`].
    pub async fn machine_remove(&self) -> Result<(), RemoveMachineError> {
        self.machine_down().await?;
        match std::fs::remove_file(self.data_disk()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(RemoveMachineError::DataDisk(error))
            }
            _ => Ok(()),
        }
    }

    /// What the machine is doing.
    #[must_use]
    pub fn machine_status(&self) -> MachineStatus {
        self.machine().status()
    }
}
