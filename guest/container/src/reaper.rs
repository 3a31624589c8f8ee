//! Collects dead children: the exit statuses of our own, and orphans that became ours.
//!
//! Process 1 gets every orphan of the machine, so somebody must wait for *any* child; but then
//! nobody else may, or a status goes to the wrong one. So one thread waits for all, and hands each
//! status to the [`ExitWatch`] of its process. A process that ends before its watch is registered
//! is the one difficulty: while any start is under way ([`Ticket`]) the statuses of strangers are
//! kept, and claimed at registration. A pid is not used again before all others have been, so what
//! is kept for the milliseconds of a start cannot be mistaken for another process's.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus};

/// The most statuses of strangers kept during a start. Past it they are dropped: somebody floods
/// the machine with orphans, and a start that loses its status then reports an unknown end.
const MAX_UNCLAIMED: usize = 4096;

/// Added to a signal's number to make an exit code, as shells and Docker do.
const SIGNAL_CODE_BASE: i32 = 128;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The exit code, or 128 + the signal's number.
    pub code: u8,
}

impl Exit {
    fn of(status: WaitStatus) -> Self {
        let code = status.exit_status().or_else(|| {
            status
                .terminating_signal()
                .map(|signal| SIGNAL_CODE_BASE + signal)
        });
        let code = code.and_then(|code| u8::try_from(code).ok());
        Self {
            code: code.unwrap_or(u8::MAX),
        }
    }
}

/// Where the end of one process will be told. Clones tell of the same process.
#[derive(Clone, Debug, Default)]
pub struct ExitWatch {
    cell: Arc<(Mutex<Option<Exit>>, Condvar)>,
}

impl ExitWatch {
    /// Waits until the process has ended.
    #[must_use]
    pub fn wait(&self) -> Exit {
        let mut exit = self.lock();
        loop {
            if let Some(exit) = *exit {
                return exit;
            }
            exit = self
                .cell
                .1
                .wait(exit)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until the process has ended, or until then; `None` where it still runs.
    #[must_use]
    pub fn wait_until(&self, deadline: Instant) -> Option<Exit> {
        let mut exit = self.lock();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if exit.is_some() || left == Duration::ZERO {
                return *exit;
            }
            let waited = self.cell.1.wait_timeout(exit, left);
            exit = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn tell(&self, exit: Exit) {
        *self.lock() = Some(exit);
        self.cell.1.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Option<Exit>> {
        self.cell.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct State {
    /// Processes that somebody waits for.
    watched: HashMap<u32, ExitWatch>,
    /// Statuses of strangers, kept while a start is under way.
    unclaimed: HashMap<u32, Exit>,
    /// Starts under way.
    starting: usize,
}

impl State {
    /// A child has been reaped.
    fn reaped(&mut self, pid: u32, exit: Exit) {
        match self.watched.remove(&pid) {
            Some(watch) => watch.tell(exit),
            None if self.starting > 0 && self.unclaimed.len() < MAX_UNCLAIMED => {
                self.unclaimed.insert(pid, exit);
            }
            None => {}
        }
    }
}

/// The one who waits for children.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reaper {
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Reaper {
    /// Starts the thread. From now on nobody else in this process gets a child's status by waiting
    /// for any child, and `std::process` may find its children gone.
    pub(crate) fn start() -> std::io::Result<Self> {
        let reaper = Self::default();
        let worker = reaper.clone();
        std::thread::Builder::new()
            .name("reaper".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || worker.run())?;
        Ok(reaper)
    }

    /// Announces a start: statuses are kept until the ticket is gone.
    pub(crate) fn begin(&self) -> Ticket<'_> {
        self.lock().starting += 1;
        Ticket { reaper: self }
    }

    fn run(&self) {
        loop {
            match rustix::process::wait(WaitOptions::empty()) {
                Ok(Some((pid, status))) => {
                    let pid = Pid::as_raw(Some(pid)).cast_unsigned();
                    self.lock().reaped(pid, Exit::of(status));
                }
                Ok(None) | Err(Errno::INTR) => {}
                Err(_no_children) => self.wait_for_children(),
            }
        }
    }

    /// Sleeps while there is nothing to wait for. An orphan that comes meanwhile stays a zombie
    /// until the next process is started, which harms nobody.
    fn wait_for_children(&self) {
        let mut state = self.lock();
        while state.watched.is_empty() {
            state = self
                .shared
                .1
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reaper's stack: it calls nothing deep.
const STACK_BYTES: usize = 64 * 1024;

/// A start under way.
#[derive(Debug)]
pub(crate) struct Ticket<'a> {
    reaper: &'a Reaper,
}

impl Ticket<'_> {
    /// The start has made this process; its end is told to the watch, even if it lies in the past.
    pub(crate) fn register(self, pid: u32) -> ExitWatch {
        let watch = ExitWatch::default();
        let mut state = self.reaper.lock();
        match state.unclaimed.remove(&pid) {
            Some(exit) => watch.tell(exit),
            None => {
                state.watched.insert(pid, watch.clone());
                self.reaper.shared.1.notify_all();
            }
        }
        drop(state);
        watch
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let mut state = self.reaper.lock();
        state.starting -= 1;
        if state.starting == 0 {
            state.unclaimed.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_before_registration_is_not_lost() {
        let reaper = Reaper::default();
        let ticket = reaper.begin();

        reaper.lock().reaped(77, Exit { code: 3 });

        assert_eq!(ticket.register(77).wait(), Exit { code: 3 });
    }

    #[test]
    fn an_end_after_registration_is_told() {
        let reaper = Reaper::default();
        let watch = reaper.begin().register(77);

        reaper.lock().reaped(77, Exit { code: 9 });

        assert_eq!(watch.wait(), Exit { code: 9 });
    }

    #[test]
    fn orphans_are_forgotten_when_no_start_is_under_way() {
        let reaper = Reaper::default();
        let ticket = reaper.begin();
        reaper.lock().reaped(77, Exit { code: 3 });

        drop(ticket);

        assert!(reaper.lock().unclaimed.is_empty());
    }

    #[test]
    fn a_flood_of_orphans_is_bounded() {
        let reaper = Reaper::default();
        let _ticket = reaper.begin();

        (1..10_000).for_each(|pid| reaper.lock().reaped(pid, Exit { code: 0 }));

        assert_eq!(reaper.lock().unclaimed.len(), MAX_UNCLAIMED);
    }

    #[test]
    fn waiting_ends_at_the_deadline() {
        let watch = ExitWatch::default();

        assert_eq!(watch.wait_until(Instant::now()), None);
    }
}
