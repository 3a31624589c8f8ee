//! Images: list, inspect, history, load, save, import, tag, remove, prune.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use dhow_api::models::{ImageDeleteResponseItem, ImageSummary};
use dhow_engine::Engine;
use dhow_engine::image::{ImageError, ImportOptions, LoadProgress};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::Shared;
use crate::body::{blocking, writer};
use crate::encode;
use crate::failure::{Failure, chain};
use crate::parameters::Parameters;

/// Steps of a load waiting for the client.
const PROGRESS_BUFFER_STEPS: usize = 64;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/images/json", get(list))
        .route("/images/load", post(load))
        .route("/images/create", post(create))
        .route("/images/prune", post(prune))
        .route("/images/search", get(super::registry::search))
        .route("/images/get", get(save_several))
        .route("/build", post(|| refused("build")))
        .route("/images/{*path}", get(show).post(change).delete(remove))
}

async fn refused(what: &'static str) -> Failure {
    Failure::unsupported(what)
}

async fn list(
    State(engine): State<Engine>,
    parameters: Parameters,
) -> Result<Json<Vec<ImageSummary>>, Failure> {
    let filters = parameters.filters()?;
    let images = engine.images_filtered(&filters).await?;
    Ok(Json(images.iter().map(encode::image_summary).collect()))
}

/// `/images/{name}/json`, `/history`, `/get`; names have slashes of their own.
async fn show(State(engine): State<Engine>, Path(path): Path<String>) -> Result<Response, Failure> {
    match path.rsplit_once('/') {
        Some((name, "json")) => {
            let image = engine.image(name).await?;
            Ok(Json(encode::image(&image)).into_response())
        }
        Some((name, "history")) => {
            let image = engine.image(name).await?;
            Ok(Json(encode::history(&image)).into_response())
        }
        Some((name, "get")) => save(engine, vec![name.to_owned()]).await,
        _ => Err(Failure::new(StatusCode::NOT_FOUND, "page not found")),
    }
}

/// `/images/{name}/tag`, `/push`.
async fn change(
    State(engine): State<Engine>,
    Path(path): Path<String>,
    headers: HeaderMap,
    parameters: Parameters,
) -> Result<Response, Failure> {
    match path.rsplit_once('/') {
        Some((name, "tag")) => {
            let repository = parameters.text("repo").unwrap_or_default();
            let target = match parameters.text("tag") {
                Some(tag) => format!("{repository}:{tag}"),
                None => repository.to_owned(),
            };
            engine.image_tag(name, &target).await?;
            Ok(StatusCode::CREATED.into_response())
        }
        Some((name, "push")) => super::registry::push(engine, name, &parameters, &headers).await,
        _ => Err(Failure::new(StatusCode::NOT_FOUND, "page not found")),
    }
}

async fn remove(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    parameters: Parameters,
) -> Result<Json<Vec<ImageDeleteResponseItem>>, Failure> {
    let removed = engine.image_remove(&name, parameters.flag("force")).await?;
    Ok(Json(removed.into_iter().map(encode::removed).collect()))
}

/// Pulls; imports with `fromSrc=-`.
async fn create(
    State(engine): State<Engine>,
    headers: HeaderMap,
    parameters: Parameters,
    body: Body,
) -> Result<Response, Failure> {
    match parameters.text("fromSrc") {
        Some("-") => import(engine, &parameters, body).await,
        Some(_) => Err(Failure::unsupported("importing from an address")),
        None => super::registry::pull(engine, &parameters, &headers).await,
    }
}

/// `/images/get?names=…`, which several names may be given to.
async fn save_several(
    State(engine): State<Engine>,
    parameters: Parameters,
) -> Result<Response, Failure> {
    let names: Vec<String> = parameters.all("names").map(str::to_owned).collect();
    if names.is_empty() {
        return Err(Failure::invalid("no images given to save"));
    }
    save(engine, names).await
}

/// Answers with the archive once it is sure that all images are here. What fails later breaks the
/// answer off, so that nobody takes it for whole.
async fn save(engine: Engine, names: Vec<String>) -> Result<Response, Failure> {
    for name in &names {
        engine.image(name).await?;
    }
    let (writer, body) = writer();
    tokio::spawn(async move {
        let failure = writer.failure();
        if let Err(error) = engine.image_save(names, Box::new(writer)).await {
            tracing::warn!(
                error = chain(&error),
                "an archive was not written to its end"
            );
            failure.tell(chain(&error)).await;
        }
    });
    let archive = [(header::CONTENT_TYPE, "application/x-tar")];
    Ok((archive, body).into_response())
}

async fn prune(
    State(engine): State<Engine>,
    parameters: Parameters,
) -> Result<Json<Value>, Failure> {
    let pruned = engine.images_prune(&parameters.filters()?).await?;
    let removed: Vec<_> = pruned.removed.into_iter().map(encode::removed).collect();
    Ok(Json(json!({
        "ImagesDeleted": removed,
        "SpaceReclaimed": pruned.freed_bytes,
    })))
}

async fn import(engine: Engine, parameters: &Parameters, body: Body) -> Result<Response, Failure> {
    let repository = parameters.text("repo").unwrap_or_default();
    let reference = match parameters.text("tag") {
        Some(tag) if !repository.is_empty() => format!("{repository}:{tag}"),
        _ => repository.to_owned(),
    };
    let options = ImportOptions {
        reference,
        message: parameters.text("message").unwrap_or_default().to_owned(),
        changes: parameters.all("changes").map(str::to_owned).collect(),
    };
    let id = engine
        .image_import(Box::new(blocking(body)), options)
        .await?;
    Ok(Json(json!({"status": id})).into_response())
}

/// Answers at once and tells how it goes; a failure is the last line, as with Docker.
async fn load(State(engine): State<Engine>, parameters: Parameters, body: Body) -> Response {
    let quiet = parameters.flag("quiet");
    let (progress, steps) = mpsc::channel(PROGRESS_BUFFER_STEPS);
    let loading =
        tokio::spawn(async move { engine.image_load(Box::new(blocking(body)), progress).await });
    let lines = stream::unfold(Some((steps, loading)), move |state| async move {
        let (mut steps, loading) = state?;
        loop {
            let line = match steps.recv().await {
                Some(step) => progress_line(&step, quiet),
                None => match loading.await {
                    Ok(Err(error)) => return Some((error_line(error), None)),
                    _ => return None,
                },
            };
            if let Some(line) = line {
                return Some((line, Some((steps, loading))));
            }
        }
    });
    let lines = futures_util::StreamExt::map(lines, |line| {
        Ok::<_, std::convert::Infallible>(format!("{line}\r\n"))
    });
    let json = [(header::CONTENT_TYPE, "application/json")];
    (json, Body::from_stream(lines)).into_response()
}

fn progress_line(step: &LoadProgress, quiet: bool) -> Option<Value> {
    match step {
        LoadProgress::Loaded(name) => {
            let what = if name.starts_with("sha256:") {
                "Loaded image ID"
            } else {
                "Loaded image"
            };
            Some(json!({"stream": format!("{what}: {name}\n")}))
        }
        _ if quiet => None,
        LoadProgress::Read { bytes } => Some(json!({
            "status": "Loading",
            "id": "archive",
            "progressDetail": {"current": bytes},
            "progress": format!("{} MB", bytes / 1_000_000),
        })),
        LoadProgress::Layer { id, existed } => Some(json!({
            "status": if *existed { "Layer already exists" } else { "Layer loaded" },
            "id": id,
            "progressDetail": {},
        })),
    }
}

fn error_line(error: ImageError) -> Value {
    let failure = Failure::from(error);
    json!({"errorDetail": {"message": failure.message()}, "error": failure.message()})
}
