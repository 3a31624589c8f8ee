//! What an outer guest is asked to run, and the lines that say how it went.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Where the outer guest finds its steps.
pub const STEPS_PATH: &str = "steps.json";
/// What each line that is meant for the harness begins with.
pub const PREFIX: &str = "dhow-nested: ";
/// How long a step may take where it says nothing else.
pub const DEFAULT_LIMIT: Duration = Duration::from_secs(60);

/// One command, and what is expected of it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Step {
    /// Named like a feature; the name a failure is reported under.
    pub name: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The exit code it must have.
    pub exit_code: i32,
    /// What its output (both streams) must hold, each of them.
    pub output: Vec<String>,
    /// When it is killed and counted as failed.
    pub limit: Duration,
    /// User and group to run as; root if none.
    pub user: Option<u32>,
    /// Environment variables besides the outer guest's own.
    pub environment: Vec<(String, String)>,
    /// Files whose ends are shown if it fails.
    pub logs: Vec<String>,
    /// Whether its output is wanted even if it went well.
    pub show: bool,
}

impl Step {
    /// A command that must end with exit code 0.
    #[must_use]
    pub fn new(name: &str, command: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            exit_code: 0,
            output: Vec::new(),
            limit: DEFAULT_LIMIT,
            user: None,
            environment: Vec::new(),
            logs: Vec::new(),
            show: false,
        }
    }

    /// Asks for another exit code.
    #[must_use]
    pub fn exits_with(mut self, code: i32) -> Self {
        self.exit_code = code;
        self
    }

    /// Asks for `text` somewhere in the output.
    #[must_use]
    pub fn prints(mut self, text: &str) -> Self {
        self.output.push(text.to_owned());
        self
    }

    /// Sets when the command is killed.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs the command as this user and group.
    #[must_use]
    pub fn as_user(mut self, user: u32) -> Self {
        self.user = Some(user);
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Shows the end of the file at `path` too if the command fails.
    #[must_use]
    pub fn logs(mut self, path: &str) -> Self {
        self.logs.push(path.to_owned());
        self
    }

    /// Hands the output out even if all went well.
    #[must_use]
    pub fn shown(mut self) -> Self {
        self.show = true;
        self
    }
}

/// How one step went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The step's name.
    pub name: String,
    /// Why it failed, or nothing.
    pub failure: Option<String>,
}

/// Reads one line of the outer guest's serial output.
#[must_use]
pub fn parse_line(line: &str) -> Option<Outcome> {
    let line = line.trim_end().split_once(PREFIX)?.1;
    if let Some(name) = line.strip_prefix("ok ") {
        let name = name.split(" (").next().unwrap_or(name);
        return Some(Outcome {
            name: name.to_owned(),
            failure: None,
        });
    }
    let (name, reason) = line.strip_prefix("FAILED ")?.split_once(": ")?;
    Some(Outcome {
        name: name.to_owned(),
        failure: Some(reason.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_step_that_went_well() {
        let outcome = parse_line("dhow-nested: ok boots_linux (1432 ms)\r\n").unwrap();

        assert_eq!(
            (outcome.name.as_str(), outcome.failure),
            ("boots_linux", None)
        );
    }

    #[test]
    fn reads_a_step_that_failed() {
        let outcome = parse_line("dhow-nested: FAILED boots_linux: exit code 1").unwrap();

        assert_eq!(outcome.failure.as_deref(), Some("exit code 1"));
    }

    #[test]
    fn leaves_a_kernel_message_alone() {
        assert_eq!(parse_line("[    0.1] Linux version 6.1"), None);
    }
}
