//! The clock, and who wants to be woken when.
//!
//! Deadlines of busy flows move with every segment. A flow therefore has one entry, which is moved
//! only to come earlier: one that comes too early is answered by asking again for the later time.
//! Only the earliest entry is told to the kernel.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use smoltcp::time::Instant;

use crate::epoll::Token;

const MICROS_PER_SECOND: i64 = 1_000_000;
const NANOS_PER_MICRO: i64 = 1_000;

pub(crate) struct Timers {
    started: std::time::Instant,
    descriptor: OwnedFd,
    entries: BTreeSet<(Instant, Token)>,
    armed: Option<Instant>,
}

impl Timers {
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        Ok(Self {
            started: std::time::Instant::now(),
            descriptor: timerfd_create(TimerfdClockId::Monotonic, flags)?,
            entries: BTreeSet::new(),
            armed: None,
        })
    }

    /// Time since the stack was made.
    pub(crate) fn now(&self) -> Instant {
        let elapsed = self.started.elapsed().as_micros();
        Instant::from_micros(i64::try_from(elapsed).unwrap_or(i64::MAX))
    }

    /// Wakes `token` at `deadline`.
    pub(crate) fn schedule(&mut self, deadline: Instant, token: Token) {
        self.entries.insert((deadline, token));
    }

    /// Takes back what was scheduled, so that entries do not outlive their flows.
    pub(crate) fn cancel(&mut self, deadline: Instant, token: Token) {
        self.entries.remove(&(deadline, token));
    }

    /// The next token whose time has come.
    pub(crate) fn expired(&mut self, now: Instant) -> Option<Token> {
        let &(deadline, token) = self.entries.first()?;
        if deadline > now {
            return None;
        }
        self.entries.pop_first();
        Some(token)
    }

    /// Tells the kernel the earliest deadline, if it changed.
    pub(crate) fn arm(&mut self, now: Instant) -> io::Result<()> {
        let earliest = self.entries.first().map(|&(deadline, _)| deadline);
        if earliest == self.armed {
            return Ok(());
        }
        let delay = earliest.map_or(0, |deadline| {
            // Zero would disarm the timer; what is due already is due in a microsecond.
            (deadline.total_micros() - now.total_micros()).max(1)
        });
        let value = Timespec {
            tv_sec: delay / MICROS_PER_SECOND,
            tv_nsec: delay % MICROS_PER_SECOND * NANOS_PER_MICRO,
        };
        let once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let spec = Itimerspec {
            it_interval: once,
            it_value: value,
        };
        timerfd_settime(&self.descriptor, TimerfdTimerFlags::empty(), &spec)?;
        self.armed = earliest;
        Ok(())
    }

    /// Takes the expiry from the descriptor, so that it is no longer readable.
    pub(crate) fn acknowledge(&mut self) {
        let mut expirations = [0; size_of::<u64>()];
        // Nothing to read means that it was armed anew meanwhile; either way it is quiet now.
        let _ = rustix::io::read(&self.descriptor, &mut expirations);
        self.armed = None;
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }
}

impl AsFd for Timers {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// A duration in the terms of smoltcp.
pub(crate) fn duration(duration: std::time::Duration) -> smoltcp::time::Duration {
    smoltcp::time::Duration::from_micros(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}
