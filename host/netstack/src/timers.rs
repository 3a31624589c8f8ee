//! The clock, and who wants to be woken when.
//!
//! Deadlines of busy flows move with every segment. A flow therefore keeps its own deadline and
//! has at most one entry here that matters: an entry that comes too early is answered by asking
//! again for the later time. Only the earliest entry is told to the kernel.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
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
    entries: BinaryHeap<Reverse<(Instant, Token)>>,
    armed: Option<Instant>,
}

impl Timers {
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        Ok(Self {
            started: std::time::Instant::now(),
            descriptor: timerfd_create(TimerfdClockId::Monotonic, flags)?,
            entries: BinaryHeap::new(),
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
        self.entries.push(Reverse((deadline, token)));
    }

    /// The next token whose time has come.
    pub(crate) fn expired(&mut self, now: Instant) -> Option<Token> {
        let Reverse((deadline, token)) = self.entries.peek().copied()?;
        if deadline > now {
            return None;
        }
        self.entries.pop();
        Some(token)
    }

    /// Tells the kernel the earliest deadline, if it changed.
    pub(crate) fn arm(&mut self, now: Instant) -> io::Result<()> {
        let earliest = self.entries.peek().map(|Reverse((deadline, _))| *deadline);
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
