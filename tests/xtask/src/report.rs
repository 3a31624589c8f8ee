//! What the developer sees: plain lines on stderr for progress, results on stdout. On a terminal a
//! progress line is overwritten by the next; elsewhere it is printed now and then, so that a log of
//! a long build stays short and yet shows that it lives.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often a progress line is renewed on a terminal.
const TERMINAL_INTERVAL: Duration = Duration::from_millis(200);

/// How often a progress line is printed where lines stay (a file, a CI log).
const LOG_INTERVAL: Duration = Duration::from_secs(15);

/// Says one line about what happens, on stderr.
#[expect(
    clippy::print_stderr,
    reason = "a developer command talks to its developer"
)]
pub fn say(line: &str) {
    eprintln!("{line}");
}

/// Prints one line of result, on stdout, for people and scripts alike.
#[expect(clippy::print_stdout, reason = "the command's result")]
pub fn result(line: &str) {
    println!("{line}");
}

/// A line that shows how far a long piece of work is.
#[derive(Debug)]
pub struct Progress {
    label: String,
    started: Instant,
    shown: Instant,
    terminal: bool,
}

impl Progress {
    /// Starts the clock; nothing is shown until the first [`Progress::show`].
    #[must_use]
    pub fn start(label: &str) -> Self {
        let now = Instant::now();
        Self {
            label: label.to_owned(),
            started: now,
            shown: now,
            terminal: std::io::stderr().is_terminal(),
        }
    }

    /// Shows `state`, unless a line was shown just before.
    pub fn show(&mut self, state: &str) {
        let interval = if self.terminal {
            TERMINAL_INTERVAL
        } else {
            LOG_INTERVAL
        };
        if self.shown.elapsed() < interval {
            return;
        }
        self.shown = Instant::now();
        let line = format!(
            "{}: {state}, {} s",
            self.label,
            self.started.elapsed().as_secs()
        );
        if self.terminal {
            // `\x1b[K` clears what a longer line left behind. A terminal that went away is no reason
            // to stop building.
            let mut stderr = std::io::stderr().lock();
            let _ = write!(stderr, "\r{line}\x1b[K");
            let _ = stderr.flush();
        } else {
            say(&line);
        }
    }

    /// Ends the work with one line that stays.
    pub fn finish(self, state: &str) {
        let clear = if self.terminal { "\r\x1b[K" } else { "" };
        let seconds = self.started.elapsed().as_secs_f64();
        say(&format!("{clear}{}: {state} in {seconds:.1} s", self.label));
    }
}
