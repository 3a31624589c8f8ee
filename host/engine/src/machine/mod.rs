//! The one machine all containers share: started by the first who needs it, stopped when idle.
//!
//! ```text
//!  Down ──acquire──► Booting ──► Up ──stop, idle, crash──► Down
//!                       └─ failed ──► Down
//! ```
//!
//! Whoever needs the machine holds a [`Lease`]; without leases it is stopped after the idle period.
//! Several who ask at once wait for one boot. Rule: a boot and a stop run in tasks of their own, so
//! a client that goes away half-way leaves nothing half-done.

mod leftovers;
mod real;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::class::{Classified, ErrorClass};
use crate::guest::{Boot, Guest, GuestFacts, MachineFailure};
use crate::notice::Notices;

pub(crate) use leftovers::Leftovers;
pub use real::MachineBoot;

/// How long processes have to end by themselves when the machine stops.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// How long the end of a machine that does not answer may take to be noticed.
const LOSS_TIMEOUT: Duration = Duration::from_secs(2);

/// Why there is no machine.
#[derive(Clone, Debug, thiserror::Error)]
#[error("failed to start the machine")]
pub struct BootError(#[source] Arc<MachineFailure>);

/// Why the machine could not be stopped.
#[derive(Debug, thiserror::Error)]
#[error("failed to stop the machine")]
pub struct StopMachineError(#[source] MachineFailure);

impl Classified for BootError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Internal
    }
}

impl Classified for StopMachineError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Internal
    }
}

/// What the machine is doing.
#[derive(Clone, Debug)]
enum Phase {
    /// Not running; why the last boot failed, if it did.
    Down(Option<BootError>),
    /// Starting.
    Booting,
    /// Running.
    Up(Arc<dyn Guest>),
    /// Being stopped.
    Stopping,
}

/// The machine as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineStatus {
    /// `down`, `booting`, `up` or `stopping`.
    pub phase: &'static str,
    /// What is known of it while it is up.
    pub facts: Option<GuestFacts>,
    /// How it ended last, where that was not asked for.
    pub last_end: Option<String>,
}

/// Starts, shares and stops the machine.
#[derive(Clone, Debug)]
pub(crate) struct Supervisor(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    boot: Arc<dyn Boot>,
    phase: watch::Sender<Phase>,
    leases: AtomicUsize,
    /// Bumped when the last lease goes, to start the idle period.
    idle: watch::Sender<u64>,
    idle_period: Duration,
    last_end: Mutex<Option<String>>,
    leftovers: Leftovers,
    notices: Notices,
}

/// Who may be cut off by a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Users {
    /// Nobody: it is stopped only if nobody uses it.
    None,
    /// Everybody: it was asked for.
    Ignored,
}

/// The right to use the machine; it is not stopped for idleness meanwhile.
#[derive(Debug)]
pub(crate) struct Lease {
    guest: Arc<dyn Guest>,
    shared: Arc<Shared>,
}

impl Lease {
    /// The machine.
    pub(crate) fn guest(&self) -> &Arc<dyn Guest> {
        &self.guest
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.shared.leases.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.idle.send_modify(|count| *count += 1);
        }
    }
}

impl Supervisor {
    pub(crate) fn new(
        boot: Arc<dyn Boot>,
        idle_period: Duration,
        leftovers: PathBuf,
        notices: Notices,
    ) -> Self {
        Self(Arc::new(Shared {
            boot,
            phase: watch::channel(Phase::Down(None)).0,
            leases: AtomicUsize::new(0),
            idle: watch::channel(0).0,
            idle_period,
            last_end: Mutex::default(),
            leftovers: Leftovers::new(leftovers),
            notices,
        }))
    }

    /// The running machine, started if need be.
    pub(crate) async fn acquire(&self) -> Result<Lease, BootError> {
        let mut phase = self.0.phase.subscribe();
        let mut waited = false;
        loop {
            let now = phase.borrow_and_update().clone();
            match now {
                Phase::Up(guest) => {
                    if let Some(lease) = self.lease(guest) {
                        return Ok(lease);
                    }
                    continue;
                }
                Phase::Down(Some(error)) if waited => return Err(error),
                Phase::Down(_) => {
                    self.begin_boot();
                    waited = true;
                    continue;
                }
                Phase::Booting => waited = true,
                Phase::Stopping => {}
            }
            // The sender lives in self.
            let _changed = phase.changed().await;
        }
    }

    /// Waits until this machine is known to have ended, within [`LOSS_TIMEOUT`].
    pub(crate) async fn until_lost(&self, lost: &Arc<dyn Guest>) {
        let mut phase = self.0.phase.subscribe();
        let replaced = phase.wait_for(|phase| match phase {
            Phase::Up(guest) => !Arc::ptr_eq(guest, lost),
            _ => true,
        });
        // Still there after that: then what failed was not the machine, and the next try tells.
        let _late = tokio::time::timeout(LOSS_TIMEOUT, replaced).await.is_err();
    }

    /// The machine if it runs already.
    pub(crate) fn running(&self) -> Option<Lease> {
        let phase = self.0.phase.borrow().clone();
        match phase {
            Phase::Up(guest) => self.lease(guest),
            _ => None,
        }
    }

    pub(crate) fn status(&self) -> MachineStatus {
        let phase = self.0.phase.borrow().clone();
        let (name, facts) = match &phase {
            Phase::Down(_) => ("down", None),
            Phase::Booting => ("booting", None),
            Phase::Up(guest) => ("up", Some(guest.facts().clone())),
            Phase::Stopping => ("stopping", None),
        };
        MachineStatus {
            phase: name,
            facts,
            last_end: self.0.locked_last_end().clone(),
        }
    }

    /// Where containers go that are removed while the machine is down.
    pub(crate) fn leftovers(&self) -> &Leftovers {
        &self.0.leftovers
    }

    /// Stops the machine, whatever runs in it; returns once it is down.
    pub(crate) async fn stop(&self) -> Result<(), StopMachineError> {
        let mut phase = self.0.phase.subscribe();
        loop {
            let now = phase.borrow_and_update().clone();
            match now {
                Phase::Down(_) => return Ok(()),
                Phase::Up(guest) => {
                    if let Some(stopping) = self.begin_stop(guest, Users::Ignored) {
                        let stopped = stopping
                            .await
                            .map_err(|error| -> MachineFailure { error.into() });
                        return stopped.and_then(|result| result).map_err(StopMachineError);
                    }
                    continue;
                }
                Phase::Booting | Phase::Stopping => {}
            }
            let _changed = phase.changed().await;
        }
    }

    /// Counts first and looks again afterwards: whoever stops an idle machine looks at the count
    /// while it holds the phase, so one of the two sees the other.
    fn lease(&self, guest: Arc<dyn Guest>) -> Option<Lease> {
        self.0.leases.fetch_add(1, Ordering::AcqRel);
        let lease = Lease {
            guest,
            shared: Arc::clone(&self.0),
        };
        let still_up = matches!(&*self.0.phase.borrow(), Phase::Up(_));
        still_up.then_some(lease)
    }

    fn begin_boot(&self) {
        let claimed = self.0.phase.send_if_modified(|phase| {
            let down = matches!(phase, Phase::Down(_));
            if down {
                *phase = Phase::Booting;
            }
            down
        });
        if claimed {
            let supervisor = self.clone();
            tokio::spawn(async move { supervisor.boot().await });
        }
    }

    async fn boot(self) {
        tracing::info!("starting the machine");
        match self.0.boot.boot().await {
            Ok(guest) => {
                tracing::info!(facts = ?guest.facts(), "machine is up");
                *self.0.locked_last_end() = None;
                self.0.leftovers.remove_all(guest.as_ref()).await;
                self.0.phase.send_replace(Phase::Up(Arc::clone(&guest)));
                self.look_after(guest).await;
            }
            Err(error) => {
                tracing::warn!(%error, "machine did not start");
                let error = BootError(Arc::new(error));
                self.0.phase.send_replace(Phase::Down(Some(error)));
            }
        }
    }

    /// Waits for the machine's end, or ends it when nobody has needed it for a while.
    async fn look_after(&self, guest: Arc<dyn Guest>) {
        let mut idle = self.0.idle.subscribe();
        loop {
            let unused = self.0.leases.load(Ordering::Acquire) == 0;
            let idled = async {
                if unused {
                    tokio::time::sleep(self.0.idle_period).await;
                } else {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                reason = guest.ended() => {
                    self.note_end(&guest, reason);
                    return;
                }
                _ = idle.changed() => {}
                () = idled => {
                    let stopping = self.begin_stop(Arc::clone(&guest), Users::None);
                    if stopping.is_some() {
                        tracing::info!("stopping the idle machine");
                        return;
                    }
                }
            }
        }
    }

    fn note_end(&self, guest: &Arc<dyn Guest>, reason: String) {
        let unexpected = self.0.phase.send_if_modified(|phase| {
            let ours = matches!(phase, Phase::Up(current) if Arc::ptr_eq(current, guest));
            if ours {
                *phase = Phase::Down(None);
            }
            ours
        });
        if unexpected {
            tracing::warn!(reason, "the machine ended");
            self.0.notices.add(format!(
                "the machine ended by itself ({reason}), and with it whatever ran on it; \
                 the next container starts a new one"
            ));
            *self.0.locked_last_end() = Some(reason);
        }
    }

    /// Claims the stop of a running machine and does it in a task of its own.
    fn begin_stop(
        &self,
        guest: Arc<dyn Guest>,
        users: Users,
    ) -> Option<tokio::task::JoinHandle<Result<(), MachineFailure>>> {
        let claimed = self.0.phase.send_if_modified(|phase| {
            let up = matches!(phase, Phase::Up(current) if Arc::ptr_eq(current, &guest));
            let used = self.0.leases.load(Ordering::Acquire) > 0;
            let stop = up && (users == Users::Ignored || !used);
            if stop {
                *phase = Phase::Stopping;
            }
            stop
        });
        let supervisor = self.clone();
        claimed.then(|| {
            tokio::spawn(async move {
                let stopped = guest.stop(STOP_GRACE).await;
                supervisor.0.phase.send_replace(Phase::Down(None));
                stopped
            })
        })
    }
}

impl Shared {
    fn locked_last_end(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.last_end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
