//! Further processes in running containers.
//!
//! ```text
//!  Created ──start──► Running ──► Exited
//!      └── start failed ────────────┘
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::id::Id;
use crate::stream::Hub;

/// Execs remembered after they ended, for `inspect` to tell the exit code. The oldest ones go.
const MAX_ENDED: usize = 256;

/// What a client asks to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecConfig {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Beyond the container's.
    pub env: Vec<String>,
    /// Where it starts; the container's where empty.
    pub working_dir: String,
    /// `name|uid[:group|gid]`; the container's where empty.
    pub user: String,
    /// Whether it gets a terminal.
    pub tty: bool,
    /// Whether it gets every capability.
    pub privileged: bool,
    /// Whether the client will send input.
    pub attach_stdin: bool,
    /// Whether the client wants standard output.
    pub attach_stdout: bool,
    /// Whether the client wants standard error.
    pub attach_stderr: bool,
    /// The terminal's first size, rows and columns.
    pub console_size: Option<(u16, u16)>,
}

/// Where an exec is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecPhase {
    /// Not started yet.
    Created,
    /// Its process runs.
    Running {
        /// The process as the machine sees it.
        pid: u32,
    },
    /// It has ended.
    Exited {
        /// Its exit code.
        code: i64,
    },
}

/// One exec.
#[derive(Debug)]
pub struct Exec {
    /// Its identifier.
    pub id: Id,
    /// Its container.
    pub container: Id,
    /// What was asked for.
    pub config: ExecConfig,
    pub(crate) phase: watch::Sender<ExecPhase>,
    pub(crate) hub: Hub,
}

impl Exec {
    pub(crate) fn new(id: Id, container: Id, config: ExecConfig) -> Self {
        Self {
            id,
            container,
            config,
            phase: watch::channel(ExecPhase::Created).0,
            hub: Hub::new(),
        }
    }

    /// Where it is in its life.
    #[must_use]
    pub fn phase(&self) -> ExecPhase {
        self.phase.borrow().clone()
    }
}

/// All execs, oldest first.
#[derive(Debug, Default)]
pub(crate) struct ExecTable(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    by_id: BTreeMap<Id, Arc<Exec>>,
    order: Vec<Id>,
}

impl ExecTable {
    pub(crate) fn insert(&self, exec: Arc<Exec>) {
        let mut state = self.locked();
        state.order.push(exec.id.clone());
        state.by_id.insert(exec.id.clone(), exec);
        let excess = state.order.len().saturating_sub(MAX_ENDED);
        if excess > 0 {
            state.forget(excess);
        }
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<Exec>> {
        self.locked()
            .by_id
            .values()
            .find(|exec| exec.id.as_str() == id)
            .cloned()
    }

    /// Those of a container that run.
    pub(crate) fn running_in(&self, container: &Id) -> Vec<Id> {
        self.locked()
            .by_id
            .values()
            .filter(|exec| exec.container == *container)
            .filter(|exec| matches!(exec.phase(), ExecPhase::Running { .. }))
            .map(|exec| exec.id.clone())
            .collect()
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Forgets the oldest ones that do not run.
    fn forget(&mut self, excess: usize) {
        let Self { by_id, order } = self;
        let mut left = excess;
        order.retain(|id| {
            let running = by_id
                .get(id)
                .is_some_and(|exec| matches!(exec.phase(), ExecPhase::Running { .. }));
            if left == 0 || running {
                return true;
            }
            left -= 1;
            by_id.remove(id);
            false
        });
    }
}
