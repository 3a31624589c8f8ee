//! `POST /containers/{id}/exec` and `POST /exec/{id}/start`.

use serde::Deserialize;

use super::words;

/// A further process.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ExecCreateRequest {
    /// Program and arguments.
    #[serde(deserialize_with = "words")]
    pub cmd: Option<Vec<String>>,
    /// Beyond the container's.
    pub env: Option<Vec<String>>,
    /// Where it starts.
    pub working_dir: Option<String>,
    /// `name|uid[:group|gid]`.
    pub user: Option<String>,
    /// Whether it gets a terminal.
    pub tty: Option<bool>,
    /// Whether it gets every capability.
    pub privileged: Option<bool>,
    /// Whether the client will send input.
    pub attach_stdin: Option<bool>,
    /// Whether the client wants standard output.
    pub attach_stdout: Option<bool>,
    /// Whether the client wants standard error.
    pub attach_stderr: Option<bool>,
    /// Keys that detach a terminal.
    pub detach_keys: Option<String>,
    /// Rows and columns.
    pub console_size: Option<Vec<u16>>,
}

/// How to start it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ExecStartRequest {
    /// Whether nobody listens.
    pub detach: Option<bool>,
    /// As at create.
    pub tty: Option<bool>,
    /// Rows and columns.
    pub console_size: Option<Vec<u16>>,
}
