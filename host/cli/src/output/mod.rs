//! How results look: tables, sizes, ages, templates. Data goes to standard output, all else to
//! standard error.

pub(crate) mod age;
pub(crate) mod json;
pub(crate) mod listing;
pub(crate) mod progress;
pub(crate) mod size;
pub(crate) mod table;
pub(crate) mod template;
pub(crate) mod time;

use std::io::{self, Write};

/// Writes a line of data. A reader that went away is an error the caller passes up, so that
/// `dhow ps | head -1` ends quietly.
pub(crate) fn line(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.write_all(b"\n")
}

/// Writes data as it is.
pub(crate) fn raw(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Writes a remark to standard error. That nobody can read it is no reason to fail.
pub(crate) fn note(text: &str) {
    let _unreadable = writeln!(io::stderr(), "dhow: {text}");
}
