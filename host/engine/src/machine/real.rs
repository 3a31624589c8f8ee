//! The machine of `host/machine` as a [`Guest`].

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dhow_machine::{CallError, Engine, Machine, MachineConfig, MachineExit, NetworkCommand};
use dhow_protocol::{LayerRange, Reply, Request};
use tokio::net::UnixStream;

use crate::guest::{Boot, Boxed, Guest, GuestError, GuestFacts, MachineFailure};

/// Boots machines of one configuration.
#[derive(Clone, Debug)]
pub struct MachineBoot {
    config: MachineConfig,
}

impl MachineBoot {
    /// Machines made of this.
    #[must_use]
    pub fn new(config: MachineConfig) -> Self {
        Self { config }
    }
}

impl Boot for MachineBoot {
    fn boot(&self) -> Boxed<'_, Result<Arc<dyn Guest>, MachineFailure>> {
        Box::pin(async {
            let machine = Machine::start(self.config.clone()).await?;
            let facts = machine.facts();
            let engine = match facts.engine {
                Engine::Kvm => "kvm",
                Engine::Uml => "uml",
            };
            let facts = GuestFacts {
                engine: engine.to_owned(),
                kernel_release: facts.kernel_release.clone(),
                memory_bytes: facts.memory_bytes,
                cpus: facts.cpus,
                boot_time: facts.boot_time,
            };
            let guest: Arc<dyn Guest> = Arc::new(MachineGuest { machine, facts });
            Ok(guest)
        })
    }
}

#[derive(Debug)]
struct MachineGuest {
    machine: Machine,
    facts: GuestFacts,
}

fn guest_error(error: CallError) -> GuestError {
    match error {
        CallError::Failed(failure) => GuestError::Failed(failure),
        other => GuestError::Unreachable(other.into()),
    }
}

impl Guest for MachineGuest {
    fn call<'a>(&'a self, request: &'a Request) -> Boxed<'a, Result<Reply, GuestError>> {
        Box::pin(async { self.machine.call(request).await.map_err(guest_error) })
    }

    fn open<'a>(
        &'a self,
        request: &'a Request,
    ) -> Boxed<'a, Result<(Reply, UnixStream), GuestError>> {
        Box::pin(async { self.machine.open(request).await.map_err(guest_error) })
    }

    fn map_layer(&self, file: PathBuf) -> Boxed<'_, Result<LayerRange, MachineFailure>> {
        Box::pin(async move { Ok(self.machine.map_layer(&file).await?) })
    }

    fn network(&self, command: NetworkCommand) -> Boxed<'_, Result<(), MachineFailure>> {
        Box::pin(async move { Ok(self.machine.network(command).await?) })
    }

    fn ended(&self) -> Boxed<'_, String> {
        Box::pin(async {
            match self.machine.ended().await {
                MachineExit::PowerOff => "the machine powered off".to_owned(),
                MachineExit::Failed { reason } => reason,
            }
        })
    }

    fn stop(&self, grace: Duration) -> Boxed<'_, Result<(), MachineFailure>> {
        Box::pin(async move { Ok(self.machine.stop(grace).await?) })
    }

    fn facts(&self) -> &GuestFacts {
        &self.facts
    }
}
