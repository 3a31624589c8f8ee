//! `POST /containers/{id}/exec`.

use dhow_api::request::ExecCreateRequest;
use dhow_engine::exec::ExecConfig;

/// What to run.
pub(crate) fn exec_config(request: ExecCreateRequest) -> ExecConfig {
    ExecConfig {
        command: request.cmd.unwrap_or_default(),
        env: request.env.unwrap_or_default(),
        working_dir: request.working_dir.unwrap_or_default(),
        user: request.user.unwrap_or_default(),
        tty: request.tty.unwrap_or_default(),
        privileged: request.privileged.unwrap_or_default(),
        attach_stdin: request.attach_stdin.unwrap_or_default(),
        attach_stdout: request.attach_stdout.unwrap_or_default(),
        attach_stderr: request.attach_stderr.unwrap_or_default(),
        console_size: console_size(request.console_size.as_deref()),
    }
}

/// Rows and columns; zeros, which clients without a terminal send, are none.
pub(crate) fn console_size(size: Option<&[u16]>) -> Option<(u16, u16)> {
    match size {
        Some([rows, columns]) if *rows > 0 && *columns > 0 => Some((*rows, *columns)),
        _ => None,
    }
}
