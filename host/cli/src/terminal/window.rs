//! The size of our terminal.

use std::io;

use rustix::termios;

/// Rows and columns of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WindowSize {
    /// Lines.
    pub(crate) rows: u16,
    /// Letters a line.
    pub(crate) columns: u16,
}

/// Size of the terminal on standard output, or on standard input; `None` without one, or when it
/// does not know.
pub(crate) fn size() -> Option<WindowSize> {
    let size = termios::tcgetwinsize(io::stdout()).or_else(|_| termios::tcgetwinsize(io::stdin()));
    let size = size.ok()?;
    let known = size.ws_row > 0 && size.ws_col > 0;
    known.then_some(WindowSize {
        rows: size.ws_row,
        columns: size.ws_col,
    })
}

/// Whether standard input is a terminal.
pub(crate) fn stdin_is_terminal() -> bool {
    termios::isatty(io::stdin())
}

/// Whether standard output is a terminal.
pub(crate) fn stdout_is_terminal() -> bool {
    termios::isatty(io::stdout())
}
