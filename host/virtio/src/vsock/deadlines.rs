//! Deadlines of connections and clients, behind one timer descriptor.
//!
//! The timer is set only when a deadline comes up that is sooner than the one it is set for; taking
//! deadlines back costs no system call, only perhaps one wake-up with nothing to do.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::readiness::Token;

/// The soonest the timer fires: zero would switch it off.
const SOONEST: Duration = Duration::from_millis(1);

/// What is to happen when, at the latest.
#[derive(Debug)]
pub(super) struct Deadlines {
    pending: BTreeSet<(Instant, Token)>,
    timer: TimerFd,
    armed: Option<Instant>,
}

impl Deadlines {
    /// Makes the timer, not set.
    pub(super) fn new() -> Result<Self, Errno> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        Ok(Self {
            pending: BTreeSet::new(),
            timer: TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?,
            armed: None,
        })
    }

    /// The descriptor that is readable when [`Self::expired`] has something to say.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }

    /// Sets what `slot` remembers as the deadline of `token` to `after` from now.
    pub(super) fn set(&mut self, slot: &mut Option<Instant>, token: Token, after: Duration) {
        self.clear(slot, token);
        let deadline = Instant::now() + after;
        self.pending.insert((deadline, token));
        *slot = Some(deadline);
    }

    /// Takes back the deadline of `token` that `slot` remembers.
    pub(super) fn clear(&mut self, slot: &mut Option<Instant>, token: Token) {
        if let Some(deadline) = slot.take() {
            self.pending.remove(&(deadline, token));
        }
    }

    /// Whether a deadline of `token` is pending; for the device's own tokens, of which few are.
    pub(super) fn has(&self, token: Token) -> bool {
        self.pending.iter().any(|(_, pending)| *pending == token)
    }

    /// Forgets all deadlines.
    pub(super) fn clear_all(&mut self) {
        self.pending.clear();
    }

    /// Takes those that are due, the timer having fired.
    pub(super) fn expired(&mut self) -> Result<Vec<Token>, Errno> {
        match self.timer.wait() {
            Ok(()) | Err(Errno::EAGAIN) => {}
            Err(errno) => return Err(errno),
        }
        self.armed = None;
        let now = Instant::now();
        let mut due = Vec::new();
        while let Some((deadline, token)) = self.pending.first().copied() {
            if deadline > now {
                break;
            }
            self.pending.pop_first();
            due.push(token);
        }
        Ok(due)
    }

    /// Sets the timer for the soonest deadline, unless it fires by then anyway.
    pub(super) fn arm(&mut self) -> Result<(), Errno> {
        let Some((soonest, _)) = self.pending.first().copied() else {
            return Ok(());
        };
        if self.armed.is_some_and(|armed| armed <= soonest) {
            return Ok(());
        }
        let left = soonest
            .saturating_duration_since(Instant::now())
            .max(SOONEST);
        let expiration = Expiration::OneShot(TimeSpec::from_duration(left));
        self.timer.set(expiration, TimerSetTimeFlags::empty())?;
        self.armed = Some(soonest);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_is_told_once() {
        let mut deadlines = Deadlines::new().unwrap();
        let mut slot = None;
        deadlines.set(&mut slot, Token::Listener, Duration::ZERO);

        let first = deadlines.expired().unwrap();
        let second = deadlines.expired().unwrap();

        assert_eq!(first, [Token::Listener]);
        assert_eq!(second, []);
    }

    #[test]
    fn a_deadline_taken_back_never_comes() {
        let mut deadlines = Deadlines::new().unwrap();
        let mut slot = None;
        deadlines.set(&mut slot, Token::Listener, Duration::ZERO);

        deadlines.clear(&mut slot, Token::Listener);

        assert_eq!(deadlines.expired().unwrap(), []);
        assert_eq!(slot, None);
    }
}
