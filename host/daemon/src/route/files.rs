//! A container's files: `archive` both ways, `export`, `changes`.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use dhow_engine::Engine;
use dhow_engine::verb::files::{ArchiveReader, FileChangeKind, UnpackOptions};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::Shared;
use crate::encode;
use crate::failure::Failure;
use crate::parameters::Parameters;

/// Where Docker puts what is at a path.
const STAT_HEADER: HeaderName = HeaderName::from_static("x-docker-container-path-stat");

/// Pieces of an archive between a client and the machine.
const QUEUED_PIECES: usize = 8;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route(
            "/containers/{name}/archive",
            get(read).head(look).put(write),
        )
        .route("/containers/{name}/export", get(export))
        .route("/containers/{name}/changes", get(changes))
}

fn path_of(parameters: &Parameters) -> Result<&str, Failure> {
    let path = parameters.text("path").filter(|path| !path.is_empty());
    path.ok_or_else(|| Failure::invalid("bad parameter: path cannot be empty"))
}

async fn look(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    parameters: Parameters,
) -> Result<Response, Failure> {
    let status = engine.stat_path(&name, path_of(&parameters)?).await?;
    let mut response = StatusCode::OK.into_response();
    add_stat(response.headers_mut(), &encode::path_stat(&status));
    Ok(response)
}

async fn read(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    parameters: Parameters,
) -> Result<Response, Failure> {
    let (status, archive) = engine.read_path(&name, path_of(&parameters)?).await?;
    let mut response = sent(archive, "application/x-tar");
    add_stat(response.headers_mut(), &encode::path_stat(&status));
    Ok(response)
}

fn add_stat(headers: &mut HeaderMap, text: &str) {
    let value = HeaderValue::from_str(text).expect("base64 can be in a header");
    headers.insert(STAT_HEADER, value);
}

async fn write(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    parameters: Parameters,
    body: Body,
) -> Result<StatusCode, Failure> {
    let options = UnpackOptions {
        path: path_of(&parameters)?.to_owned(),
        keep_kinds: parameters.flag("noOverwriteDirNonDir"),
        as_container_user: parameters.flag("copyUIDGID"),
    };
    let (sender, pieces) = mpsc::channel(QUEUED_PIECES);
    tokio::spawn(async move {
        let mut body = body.into_data_stream();
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(std::io::Error::other);
            if sender.send(piece).await.is_err() {
                return;
            }
        }
    });
    engine.write_path(&name, options, pieces).await?;
    Ok(StatusCode::OK)
}

async fn export(
    State(engine): State<Engine>,
    Path(name): Path<String>,
) -> Result<Response, Failure> {
    let archive = engine.export(&name).await?;
    Ok(sent(archive, "application/octet-stream"))
}

async fn changes(
    State(engine): State<Engine>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Failure> {
    let changes = engine.changes(&name).await?;
    if changes.is_empty() {
        // As Docker.
        return Ok(Json(Value::Null));
    }
    let list = changes.into_iter().map(|change| {
        let kind = match change.kind {
            FileChangeKind::Changed => 0,
            FileChangeKind::Added => 1,
            FileChangeKind::Deleted => 2,
        };
        json!({"Path": change.path, "Kind": kind})
    });
    Ok(Json(list.collect()))
}

/// An archive as an answer's body. One that breaks off breaks the connection, so that the client
/// never takes half an archive for a whole one.
fn sent(archive: ArchiveReader, media_type: &'static str) -> Response {
    let pieces = stream::unfold(Some(archive), |archive| async move {
        let mut archive = archive?;
        match archive.next().await {
            Ok(Some(piece)) => Some((Ok::<Bytes, std::io::Error>(piece), Some(archive))),
            Ok(None) => None,
            Err(error) => {
                tracing::warn!(%error, "an archive broke off");
                Some((Err(std::io::Error::other(error)), None))
            }
        }
    });
    let media_type = [(header::CONTENT_TYPE, media_type)];
    (media_type, Body::from_stream(pieces)).into_response()
}
