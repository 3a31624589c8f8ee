//! A further process in a running container.

use hyper::Method;
use serde::{Deserialize, Serialize};

use super::connection::Client;
use super::error::ClientError;
use super::hijack::Hijacked;
use super::models::ExecState;
use super::target::Target;

/// What to run, and how.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ExecOptions {
    /// The program and its arguments.
    pub cmd: Vec<String>,
    /// Further environment, `KEY=value`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Connect our input.
    pub attach_stdin: bool,
    /// Connect its output.
    pub attach_stdout: bool,
    /// Connect its errors.
    pub attach_stderr: bool,
    /// Give it a terminal.
    pub tty: bool,
    /// Size of that terminal: rows, columns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console_size: Option<[u16; 2]>,
    /// With all capabilities.
    pub privileged: bool,
    /// User, and group after a colon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Where it starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Keys that detach from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detach_keys: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct StartExec {
    detach: bool,
    tty: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    console_size: Option<[u16; 2]>,
}

impl Client {
    /// Prepares a process; the id that comes back starts it.
    ///
    /// # Errors
    /// 404 when there is no such container, 409 when it does not run.
    pub async fn create_exec(
        &self,
        container: &str,
        options: &ExecOptions,
    ) -> Result<String, ClientError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Created {
            id: String,
        }
        let target = Target::of(&["containers", container, "exec"]);
        let created: Created = self.submit(&target, options).await?;
        Ok(created.id)
    }

    /// Starts it and opens its streams.
    ///
    /// # Errors
    /// When the program cannot be executed.
    pub async fn start_exec(
        &self,
        id: &str,
        options: &ExecOptions,
    ) -> Result<Hijacked, ClientError> {
        let target = Target::of(&["exec", id, "start"]);
        let body = StartExec {
            detach: false,
            tty: options.tty,
            console_size: options.console_size,
        };
        let json = serde_json::to_vec(&body).map_err(|source| ClientError::Encode {
            call: format!("POST {target}"),
            source,
        })?;
        self.hijack(&target, Some(json)).await
    }

    /// Starts it and leaves it alone.
    ///
    /// # Errors
    /// When the program cannot be executed.
    pub async fn start_exec_detached(&self, id: &str, tty: bool) -> Result<(), ClientError> {
        let target = Target::of(&["exec", id, "start"]);
        let body = StartExec {
            detach: true,
            tty,
            console_size: None,
        };
        self.submit_quietly(&target, &body).await
    }

    /// Whether it still runs, and how it ended.
    ///
    /// # Errors
    /// When the daemon no longer knows it.
    pub async fn inspect_exec(&self, id: &str) -> Result<ExecState, ClientError> {
        self.fetch(Method::GET, &Target::of(&["exec", id, "json"]))
            .await
    }

    /// Tells its terminal the new size.
    ///
    /// # Errors
    /// When it has no terminal or has ended.
    pub async fn resize_exec(&self, id: &str, rows: u16, columns: u16) -> Result<(), ClientError> {
        let target = Target::of(&["exec", id, "resize"])
            .query("h", &rows.to_string())
            .query("w", &columns.to_string());
        self.command(Method::POST, &target).await
    }
}
