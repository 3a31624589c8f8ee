//! Raw mode: every key goes to the container, nothing is echoed here.
//!
//! What the terminal was like is kept where the panic hook finds it too: the shipped program aborts
//! on panic, so no destructor would run.

use std::io;
use std::sync::{Mutex, PoisonError};

use rustix::termios::{self, OptionalActions, Termios};

/// The terminal as we found it, while it is raw.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// While this lives the terminal is raw.
#[derive(Debug)]
pub(crate) struct RawMode {
    _private: (),
}

impl RawMode {
    /// Makes standard input raw.
    pub(crate) fn enter() -> io::Result<Self> {
        let stdin = io::stdin();
        let before = termios::tcgetattr(&stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        // Kept first: a signal between the two calls must find what to restore.
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        termios::tcsetattr(&stdin, OptionalActions::Now, &raw)?;
        Ok(Self { _private: () })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

/// Puts the terminal back, if it is raw.
pub(crate) fn restore() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(before) = before {
        // Drained, so that the last output still gets the mode it was written for. A terminal that
        // is gone needs no mode.
        let _gone = termios::tcsetattr(io::stdin(), OptionalActions::Drain, &before);
    }
}

/// Puts the terminal back before a panic is told.
pub(crate) fn restore_on_panic() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        restore();
        tell(info);
    }));
}
