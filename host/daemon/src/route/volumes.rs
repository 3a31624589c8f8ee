//! `/volumes`.

use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use dhow_engine::Engine;
use serde_json::{Value, json};

use super::Shared;
use crate::failure::Failure;
use crate::parameters::Parameters;
use crate::version::{ONLY_ANONYMOUS_PRUNED_SINCE, Version};
use crate::{decode, encode};

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/volumes", get(list))
        .route("/volumes/create", post(create))
        .route("/volumes/prune", post(prune))
        .route("/volumes/{name}", get(inspect).delete(remove))
}

async fn list(
    State(engine): State<Engine>,
    parameters: Parameters,
) -> Result<Json<Value>, Failure> {
    let volumes = engine.volume_list(&parameters.filters()?)?;
    let volumes: Vec<Value> = volumes
        .iter()
        .map(|volume| encode::volume(volume, None))
        .collect();
    Ok(Json(json!({"Volumes": volumes, "Warnings": null})))
}

async fn create(
    State(engine): State<Engine>,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Failure> {
    let options = decode::volume_options(decode::json(body).await?);
    let volume = engine.volume_create(options).await?;
    Ok((StatusCode::CREATED, Json(encode::volume(&volume, None))))
}

async fn inspect(
    State(engine): State<Engine>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Failure> {
    Ok(Json(encode::volume(&engine.volume(&name)?, None)))
}

async fn remove(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    parameters: Parameters,
) -> Result<StatusCode, Failure> {
    let force = parameters.flag("force");
    engine.volume_remove(&name, force).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn prune(
    State(engine): State<Engine>,
    version: Option<Extension<Version>>,
    parameters: Parameters,
) -> Result<Json<Value>, Failure> {
    let older = version.is_some_and(|Extension(version)| version < ONLY_ANONYMOUS_PRUNED_SINCE);
    let pruned = engine.volume_prune(&parameters.filters()?, older).await?;
    Ok(Json(json!({
        "VolumesDeleted": pruned.removed,
        "SpaceReclaimed": pruned.bytes,
    })))
}
