//! Containers: create, list, inspect, rename, resize, remove, and what cannot be had yet.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use dhow_api::models::{ContainerCreateResponse, ContainerSummary, ContainerUpdateResponse};
use dhow_engine::Engine;
use dhow_engine::verb::commit::CommitRequest;
use dhow_engine::verb::list::ListOptions;
use serde_json::{Value, json};

use super::Shared;
use crate::failure::Failure;
use crate::parameters::Parameters;
use crate::{decode, encode};

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/containers/create", post(create))
        .route("/containers/json", get(list))
        .route("/containers/prune", post(prune))
        .route("/containers/{name}/json", get(inspect))
        .route("/containers/{name}/rename", post(rename))
        .route("/containers/{name}/resize", post(resize))
        .route("/containers/{name}", delete(remove))
        .route("/containers/{name}/update", post(update))
        .route("/commit", post(commit))
}

async fn create(
    State(engine): State<Engine>,
    parameters: Parameters,
    body: Body,
) -> Result<(StatusCode, Json<ContainerCreateResponse>), Failure> {
    let request = decode::json(body).await?;
    let options = decode::create_options(parameters.text("name"), request)?;
    let container = engine.create(options).await?;
    let created = ContainerCreateResponse {
        id: container.id().to_string(),
        warnings: Vec::new(),
    };
    Ok((StatusCode::CREATED, Json(created)))
}

async fn list(
    State(engine): State<Engine>,
    parameters: Parameters,
) -> Result<Json<Vec<ContainerSummary>>, Failure> {
    // -1 is Docker's "no limit".
    let limit = parameters.number::<i64>("limit")?;
    let options = ListOptions {
        all: parameters.flag("all"),
        limit: limit
            .and_then(|limit| usize::try_from(limit).ok())
            .filter(|limit| *limit > 0),
        filters: parameters.filters()?,
    };
    let listed = engine.list(options).await?;
    Ok(Json(listed.into_iter().map(encode::summary).collect()))
}

async fn inspect(
    State(engine): State<Engine>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Failure> {
    let container = engine.container(&name)?;
    Ok(Json(encode::inspected(&engine, &container)))
}

async fn rename(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    parameters: Parameters,
) -> Result<StatusCode, Failure> {
    engine.rename(&name, parameters.text("name").unwrap_or_default())?;
    Ok(StatusCode::NO_CONTENT)
}

async fn update(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<ContainerUpdateResponse>, Failure> {
    let options = decode::update_options(decode::json(body).await?)?;
    let warnings = engine.update(&name, options).await?;
    Ok(Json(ContainerUpdateResponse {
        warnings: Some(warnings),
    }))
}

async fn resize(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    parameters: Parameters,
) -> Result<StatusCode, Failure> {
    let rows = parameters.number("h")?.unwrap_or_default();
    let columns = parameters.number("w")?.unwrap_or_default();
    engine.resize(&name, rows, columns).await?;
    Ok(StatusCode::OK)
}

async fn remove(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    parameters: Parameters,
) -> Result<StatusCode, Failure> {
    // `v` asks for the container's own volumes to go, too; they are part of it here.
    if parameters.flag("link") {
        return Err(Failure::unsupported("--link"));
    }
    engine.remove(&name, parameters.flag("force")).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn prune(
    State(engine): State<Engine>,
    parameters: Parameters,
) -> Result<Json<Value>, Failure> {
    let removed = engine.prune(&parameters.filters()?).await?;
    Ok(Json(
        json!({"ContainersDeleted": removed, "SpaceReclaimed": 0}),
    ))
}

/// The body may have a configuration, which the docker CLI never sends: what it would change can be
/// said with `changes`.
async fn commit(
    State(engine): State<Engine>,
    parameters: Parameters,
) -> Result<(StatusCode, Json<Value>), Failure> {
    let text = |name: &str| parameters.text(name).unwrap_or_default().to_owned();
    let (repository, tag) = (text("repo"), text("tag"));
    let reference = if repository.is_empty() || tag.is_empty() {
        repository
    } else {
        format!("{repository}:{tag}")
    };
    let request = CommitRequest {
        reference,
        author: text("author"),
        message: text("comment"),
        changes: parameters.all("changes").map(str::to_owned).collect(),
        pause: parameters.text("pause").is_none() || parameters.flag("pause"),
    };
    let id = engine.commit(&text("container"), request).await?;
    Ok((StatusCode::CREATED, Json(json!({"Id": id}))))
}
