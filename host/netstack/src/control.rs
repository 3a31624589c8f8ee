//! The end of the stack that other threads hold: commands in, counters out.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

use crate::command::NetworkCommand;
use crate::counters::Counters;

/// Orders the stack about from any thread. Cheap to clone.
#[derive(Debug, Clone)]
pub struct NetstackControl {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    wake: OwnedFd,
    commands: Mutex<VecDeque<NetworkCommand>>,
    counters: Mutex<Counters>,
}

impl NetstackControl {
    pub(crate) fn new() -> io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        let (commands, counters) = (Mutex::default(), Mutex::default());
        Ok(Self {
            shared: Arc::new(Shared {
                wake,
                commands,
                counters,
            }),
        })
    }

    /// Has the stack carry out `command`, after all given before it. Does not wait for it.
    pub fn apply(&self, command: NetworkCommand) {
        unpoisoned(&self.shared.commands).push_back(command);
        // Only a counter about to overflow can refuse one more, and then the stack is awake.
        let _ = rustix::io::write(&self.shared.wake, &1_u64.to_ne_bytes());
    }

    /// The stack's counters as of its last pause.
    #[must_use]
    pub fn counters(&self) -> Counters {
        *unpoisoned(&self.shared.counters)
    }

    pub(crate) fn publish(&self, counters: Counters) {
        *unpoisoned(&self.shared.counters) = counters;
    }

    /// Whether a command waits; the descriptor is readable if so.
    pub(crate) fn take(&self) -> VecDeque<NetworkCommand> {
        let mut count = [0; size_of::<u64>()];
        // Nothing to read is what most calls find.
        let _ = rustix::io::read(&self.shared.wake, &mut count);
        std::mem::take(&mut unpoisoned(&self.shared.commands))
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.shared.wake.as_fd()
    }
}

/// A panic elsewhere cannot leave a queue or a copy of numbers half-made.
fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
