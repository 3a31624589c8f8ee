//! Images: list, inspect, load, import, tag, remove.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use dhow_api::models::{ImageDeleteResponseItem, ImageSummary};
use dhow_engine::Engine;
use dhow_engine::image::{Image, ImageError, ImportOptions, LoadProgress};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::Shared;
use crate::body::blocking;
use crate::encode;
use crate::failure::Failure;
use crate::parameters::Parameters;

/// Steps of a load waiting for the client.
const PROGRESS_BUFFER_STEPS: usize = 64;

/// Docker's filters on images that mean something here.
const FILTERS: [&str; 4] = ["reference", "dangling", "label", "id"];

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/images/json", get(list))
        .route("/images/load", post(load))
        .route("/images/create", post(create))
        .route("/images/prune", post(|| refused("pruning images")))
        .route("/images/search", get(|| refused("searching a registry")))
        .route("/images/get", get(|| refused("save")))
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
    filters.only(&FILTERS)?;
    let mut images = engine.images_list().await?;
    images.retain(|image| {
        let references: Vec<&str> = filters.values("reference").collect();
        let dangling = filters.values("dangling").next();
        let labels = image.labels();
        let labelled = |wanted: &str| match wanted.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|found| found == value),
            None => labels.contains_key(wanted),
        };
        (references.is_empty() || references.iter().any(|wanted| is_named(image, wanted)))
            && dangling
                .is_none_or(|value| (value == "true" || value == "1") == image.repo_tags.is_empty())
            && filters.values("label").all(labelled)
    });
    images.sort_by(|a, b| b.config.created().cmp(a.config.created()));
    Ok(Json(images.iter().map(encode::image_summary).collect()))
}

/// A reference with or without tag, `*` standing for anything within a part.
fn is_named(image: &Image, wanted: &str) -> bool {
    image.repo_tags.iter().any(|tag| {
        let repository = tag.rsplit_once(':').map_or(tag.as_str(), |(name, _)| name);
        glob(wanted, tag) || glob(wanted, repository)
    })
}

/// `*` matches any run of characters other than `/`.
fn glob(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            let end = rest.find('/').unwrap_or(rest.len());
            (0..=end)
                .filter(|at| rest.is_char_boundary(*at))
                .any(|at| glob(after, &rest[at..]))
        }),
    }
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
        Some((_, "get")) => Err(Failure::unsupported("save")),
        _ => Err(Failure::new(StatusCode::NOT_FOUND, "page not found")),
    }
}

/// `/images/{name}/tag`, `/push`.
async fn change(
    State(engine): State<Engine>,
    Path(path): Path<String>,
    parameters: Parameters,
) -> Result<StatusCode, Failure> {
    match path.rsplit_once('/') {
        Some((name, "tag")) => {
            let repository = parameters.text("repo").unwrap_or_default();
            let target = match parameters.text("tag") {
                Some(tag) => format!("{repository}:{tag}"),
                None => repository.to_owned(),
            };
            engine.image_tag(name, &target).await?;
            Ok(StatusCode::CREATED)
        }
        Some((_, "push")) => Err(Failure::unsupported("push")),
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

/// Pulls, in Docker; imports with `fromSrc=-`.
async fn create(
    State(engine): State<Engine>,
    parameters: Parameters,
    body: Body,
) -> Result<Response, Failure> {
    match parameters.text("fromSrc") {
        Some("-") => import(engine, &parameters, body).await,
        Some(_) => Err(Failure::unsupported("importing from an address")),
        None => Err(no_pull(&parameters)),
    }
}

/// Clients ask for this when an image is not here; the answer is what their user reads.
fn no_pull(parameters: &Parameters) -> Failure {
    let mut image = parameters.text("fromImage").unwrap_or_default().to_owned();
    if let Some(tag) = parameters.text("tag") {
        let separator = if tag.contains(':') { '@' } else { ':' };
        image = format!("{image}{separator}{tag}");
    }
    let message = format!(
        "image {image:?} is not here and dhow cannot pull from registries yet; \
         load it with `dhow load`"
    );
    Failure::new(StatusCode::NOT_FOUND, message)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stays_within_a_part() {
        assert!(glob("busy*", "busybox"));
        assert!(glob("*/web", "team/web"));
        assert!(!glob("*", "team/web"));
        assert!(!glob("web", "web2"));
    }
}
