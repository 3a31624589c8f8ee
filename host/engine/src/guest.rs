//! The machine as the verbs see it: calls, streams and layers, nothing of how it runs.
//!
//! `dhow_machine::Machine` implements [`Guest`] in [`crate::machine`]; tests put an agent without a
//! VM behind it. Rule: a guest that failed once stays failed; the supervisor boots a new one.

use std::error::Error;
use std::fmt::Debug;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

pub use dhow_machine::NetworkCommand;
use dhow_protocol::{Failure, LayerRange, Reply, Request};
use tokio::net::UnixStream;

/// A future that can stand behind a `dyn` trait.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// An error of a machine, whatever it is made of.
pub type MachineFailure = Box<dyn Error + Send + Sync>;

/// Why a call into the guest failed.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// The agent answered that it did not work.
    #[error(transparent)]
    Failed(Failure),
    /// The agent gave no answer.
    #[error("the machine did not answer")]
    Unreachable(#[source] MachineFailure),
    /// The agent answered with something else than the request's answer.
    #[error("the machine answered {0:?} out of turn")]
    OutOfTurn(Box<Reply>),
}

/// What is known of a running machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestFacts {
    /// Which engine runs it: `kvm` or `uml`.
    pub engine: String,
    /// `uname -r` of the guest.
    pub kernel_release: String,
    /// The guest's memory in bytes.
    pub memory_bytes: u64,
    /// The guest's CPUs.
    pub cpus: u32,
    /// From the start of the machine to its first answer.
    pub boot_time: Duration,
}

/// A running machine.
pub trait Guest: Debug + Send + Sync {
    /// One call on a connection of its own; a failure of the agent is [`GuestError::Failed`].
    fn call<'a>(&'a self, request: &'a Request) -> Boxed<'a, Result<Reply, GuestError>>;

    /// A call whose connection lives on as a stream.
    fn open<'a>(
        &'a self,
        request: &'a Request,
    ) -> Boxed<'a, Result<(Reply, UnixStream), GuestError>>;

    /// Puts a layer file on the layer disk; the same file again costs nothing.
    fn map_layer(&self, file: PathBuf) -> Boxed<'_, Result<LayerRange, MachineFailure>>;

    /// Changes the machine's networks, at its host end; done in order, never answered.
    fn network(&self, command: NetworkCommand) -> Boxed<'_, Result<(), MachineFailure>>;

    /// Resolves when the machine has ended, with the reason in one line.
    fn ended(&self) -> Boxed<'_, String>;

    /// Orderly power-off, processes given `grace` to end by themselves.
    fn stop(&self, grace: Duration) -> Boxed<'_, Result<(), MachineFailure>>;

    /// What is known of it.
    fn facts(&self) -> &GuestFacts;
}

/// Starts machines.
pub trait Boot: Debug + Send + Sync {
    /// Starts one and waits until its agent answers.
    fn boot(&self) -> Boxed<'_, Result<Arc<dyn Guest>, MachineFailure>>;
}
