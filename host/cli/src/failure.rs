//! What a command ends with when it does not succeed: a line, a hint and an exit code.
//!
//! Every error of the program becomes a [`Failure`] and is printed once, by `main`, as
//! `dhow: …` and perhaps `hint: …` on standard error.

use std::fmt::Display;
use std::io;

use dhow_api::client::ClientError;

/// Something we or the user did wrong before a container's own code could run.
pub(crate) const OUR_FAULT: u8 = 125;
/// The container's command exists but cannot be executed.
pub(crate) const NOT_EXECUTABLE: u8 = 126;
/// The container's command does not exist.
pub(crate) const NOT_FOUND: u8 = 127;
/// Added to a signal's number when a command ends because of it, as shells do.
pub(crate) const SIGNAL_BASE: u8 = 128;

/// How a command ended: an exit code for the shell.
pub(crate) type Outcome = Result<u8, Failure>;

/// An error on its way to the user.
#[derive(Debug)]
pub(crate) struct Failure {
    cause: anyhow::Error,
    hint: Option<String>,
    code: u8,
}

impl Failure {
    /// A failure in our own words.
    pub(crate) fn new(message: impl Display) -> Self {
        Self::from(anyhow::anyhow!("{message}"))
    }

    /// Says what to do next.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says which exit code the shell gets.
    pub(crate) fn code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// The exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        self.code
    }

    /// Status of the daemon's refusal, when that is what happened.
    pub(crate) fn refusal(&self) -> Option<u16> {
        self.cause
            .downcast_ref::<ClientError>()
            .and_then(ClientError::status)
    }

    /// The whole chain in one line: what we tried, then why it failed.
    pub(crate) fn line(&self) -> String {
        let text = format!("{:#}", self.cause);
        text.lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect::<Vec<_>>()
            .join("; ")
    }

    /// What to do next, given with the failure or known for its kind.
    pub(crate) fn advice(&self) -> Option<String> {
        self.hint.clone().or_else(|| usual_hint(&self.cause))
    }

    /// Whether all that happened is that nobody reads our output any more, as in `dhow ps | head -1`.
    pub(crate) fn is_closed_output(&self) -> bool {
        self.cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(cause: E) -> Self {
        Self {
            cause: cause.into(),
            hint: None,
            code: 1,
        }
    }
}

/// Advice for refusals whose cure is always the same.
fn usual_hint(cause: &anyhow::Error) -> Option<String> {
    let error = cause.downcast_ref::<ClientError>()?;
    match error {
        ClientError::Exchange { .. } => {
            Some("the daemon may have ended; try again, and see `dhow doctor`".to_owned())
        }
        ClientError::Refused {
            status: 404,
            message,
        } => {
            let message = message.to_ascii_lowercase();
            if message.contains("no such image") {
                Some("`dhow images` lists what there is; `dhow pull` and `dhow load -i FILE` add more".to_owned())
            } else if message.contains("no such container") {
                Some("`dhow ps -a` lists the containers".to_owned())
            } else {
                None
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::Failure;

    #[test]
    fn the_chain_is_one_line() {
        let error: anyhow::Result<()> =
            Err(std::io::Error::other("no space\nleft")).context("failed to write layer");
        let failure = Failure::from(error.expect_err("an error"));
        assert_eq!(failure.line(), "failed to write layer: no space; left");
        assert_eq!(failure.exit_code(), 1);
    }

    #[test]
    fn a_reader_that_left_is_not_an_error_to_tell() {
        let error = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert!(Failure::from(error).is_closed_output());
    }
}
