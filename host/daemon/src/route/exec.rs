//! Further processes: create, start, inspect, resize.

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use dhow_api::models::{ExecInspectResponse, ProcessConfig};
use dhow_api::request::ExecStartRequest;
use dhow_engine::Engine;
use dhow_engine::exec::{Exec, ExecPhase};
use dhow_engine::stream::{Attachment, Selection};
use dhow_engine::verb::exec::ExecError;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::Shared;
use crate::decode;
use crate::detach::DetachKeys;
use crate::failure::Failure;
use crate::hijack::{Hijack, Session};
use crate::parameters::Parameters;

/// The stream number of standard error in Docker's multiplexed streams.
const STDERR: u8 = 2;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/containers/{name}/exec", post(create))
        .route("/exec/{id}/start", post(start))
        .route("/exec/{id}/json", get(inspect))
        .route("/exec/{id}/resize", post(resize))
}

async fn create(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Failure> {
    let config = decode::exec_config(decode::json(body).await?);
    let exec = engine.exec_create(&name, config)?;
    // The model of this answer writes `id`, which only clients blind to case understand.
    Ok((
        StatusCode::CREATED,
        Json(json!({"Id": exec.id.to_string()})),
    ))
}

async fn start(
    State(engine): State<Engine>,
    Path(id): Path<String>,
    mut request: Request,
) -> Result<Response, Failure> {
    let hijack = Hijack::of(&mut request);
    let options: ExecStartRequest = decode::json(request.into_body()).await?;
    let exec = engine.exec(&id)?;
    let console_size = decode::console_size(options.console_size.as_deref());
    if options.detach.unwrap_or_default() {
        engine
            .exec_start(&id, Selection::default(), console_size)
            .await?;
        return Ok(StatusCode::OK.into_response());
    }
    let selection = Selection {
        stdin: exec.config.attach_stdin,
        stdout: exec.config.attach_stdout,
        stderr: exec.config.attach_stderr,
    };
    let started = engine.exec_start(&id, selection, console_size).await;
    let (attachment, first) = match started {
        Ok(attachment) => (attachment, Vec::new()),
        // Told on the stream, so that clients go on to ask for the exit code: 126 or 127.
        Err(error @ (ExecError::CommandNotFound { .. } | ExecError::NotExecutable { .. })) => {
            (ended(), vec![complaint(&exec, &Failure::from(error))])
        }
        Err(error) => return Err(error.into()),
    };
    let tty = exec.config.tty;
    hijack.carry(Session {
        attachment,
        first,
        tty,
        end_input_with_client: !tty,
        detach_keys: tty.then(|| DetachKeys::parse("")).and_then(Result::ok),
    })
}

/// Streams on which nothing comes any more.
fn ended() -> Attachment {
    let (_, output) = mpsc::channel(1);
    Attachment {
        output,
        input: None,
    }
}

fn complaint(exec: &Exec, failure: &Failure) -> Bytes {
    let text = format!("{}\r\n", failure.message());
    if exec.config.tty {
        return text.into();
    }
    let length = u32::try_from(text.len()).expect("a message is short");
    let mut bytes = vec![STDERR, 0, 0, 0];
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(text.as_bytes());
    bytes.into()
}

async fn inspect(
    State(engine): State<Engine>,
    Path(id): Path<String>,
) -> Result<Json<ExecInspectResponse>, Failure> {
    let exec = engine.exec(&id)?;
    let (running, pid, exit_code) = match exec.phase() {
        ExecPhase::Created => (false, 0, None),
        ExecPhase::Running { pid } => (true, pid, None),
        ExecPhase::Exited { code } => (false, 0, Some(code)),
    };
    let config = &exec.config;
    let mut command = config.command.iter().cloned();
    Ok(Json(ExecInspectResponse {
        can_remove: Some(false),
        id: Some(exec.id.to_string()),
        running: Some(running),
        exit_code,
        process_config: Some(ProcessConfig {
            privileged: Some(config.privileged),
            user: Some(config.user.clone()),
            tty: Some(config.tty),
            entrypoint: command.next(),
            arguments: Some(command.collect()),
        }),
        open_stdin: Some(config.attach_stdin),
        open_stderr: Some(config.attach_stderr),
        open_stdout: Some(config.attach_stdout),
        container_id: Some(exec.container.to_string()),
        pid: Some(pid.into()),
        ..ExecInspectResponse::default()
    }))
}

async fn resize(
    State(engine): State<Engine>,
    Path(id): Path<String>,
    parameters: Parameters,
) -> Result<StatusCode, Failure> {
    let rows = parameters.number("h")?.unwrap_or_default();
    let columns = parameters.number("w")?.unwrap_or_default();
    engine.exec_resize(&id, rows, columns).await?;
    Ok(StatusCode::OK)
}
