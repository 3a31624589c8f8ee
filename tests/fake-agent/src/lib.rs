//! A guest agent without a guest: speaks the protocol and runs containers as plain host processes.
//!
//! Streams, exit codes, signals and forwarded connections are real; namespaces, cgroups and root
//! file systems are not there. A terminal is a pipe here. Tests of the engine and of the daemon use
//! it where they would otherwise need a machine.

mod agent;
mod images;
mod process;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dhow_engine::guest::{
    Boot, Boxed, Guest, GuestError, GuestFacts, MachineFailure, NetworkCommand,
};
use dhow_protocol::{LayerRange, Reply, Request};
use tokio::net::UnixStream;
use tokio::sync::watch;

pub use images::FakeImages;

use agent::Agent;

/// Boots machines that are none.
#[derive(Clone, Debug, Default)]
pub struct FakeBoot;

/// A machine that is none.
#[derive(Debug)]
struct FakeGuest {
    agent: Arc<Agent>,
    facts: GuestFacts,
    ended: watch::Sender<bool>,
}

impl Boot for FakeBoot {
    fn boot(&self) -> Boxed<'_, Result<Arc<dyn Guest>, MachineFailure>> {
        let facts = GuestFacts {
            engine: "fake".to_owned(),
            kernel_release: "6.12.0-fake".to_owned(),
            memory_bytes: 512 << 20,
            cpus: 1,
            boot_time: Duration::ZERO,
        };
        let guest: Arc<dyn Guest> = Arc::new(FakeGuest {
            agent: Arc::default(),
            facts,
            ended: watch::channel(false).0,
        });
        Box::pin(async { Ok(guest) })
    }
}

impl Guest for FakeGuest {
    fn call<'a>(&'a self, request: &'a Request) -> Boxed<'a, Result<Reply, GuestError>> {
        Box::pin(async { Ok(self.open(request).await?.0) })
    }

    fn open<'a>(
        &'a self,
        request: &'a Request,
    ) -> Boxed<'a, Result<(Reply, UnixStream), GuestError>> {
        Box::pin(async {
            if *self.ended.borrow() {
                return Err(GuestError::Unreachable("the machine has ended".into()));
            }
            let (mut ours, theirs) =
                UnixStream::pair().map_err(|error| GuestError::Unreachable(error.into()))?;
            tokio::spawn(Arc::clone(&self.agent).serve(theirs));
            let reply = agent::ask(&mut ours, request)
                .await
                .map_err(|error| GuestError::Unreachable(error.into()))?;
            match reply {
                Reply::Failed(failure) => Err(GuestError::Failed(failure)),
                reply => Ok((reply, ours)),
            }
        })
    }

    fn map_layer(&self, _file: PathBuf) -> Boxed<'_, Result<LayerRange, MachineFailure>> {
        let range = LayerRange {
            offset: 0,
            length: 4096,
        };
        Box::pin(async move { Ok(range) })
    }

    /// Processes of the host are on the host's network: there is nothing to change.
    fn network(&self, _command: NetworkCommand) -> Boxed<'_, Result<(), MachineFailure>> {
        Box::pin(async {
            if *self.ended.borrow() {
                return Err("the machine has ended".into());
            }
            Ok(())
        })
    }

    fn ended(&self) -> Boxed<'_, String> {
        Box::pin(async {
            let mut ended = self.ended.subscribe();
            let _ended = ended.wait_for(|ended| *ended).await.is_ok();
            "the machine powered off".to_owned()
        })
    }

    fn stop(&self, _grace: Duration) -> Boxed<'_, Result<(), MachineFailure>> {
        Box::pin(async {
            self.agent.kill_all();
            self.ended.send_replace(true);
            Ok(())
        })
    }

    fn facts(&self) -> &GuestFacts {
        &self.facts
    }
}
