//! Networks: create, list, inspect, remove, prune, connect and disconnect.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use dhow_api::request::{NetworkConnectRequest, NetworkCreateRequest, NetworkDisconnectRequest};
use dhow_engine::Engine;
use serde_json::{Value, json};

use super::Shared;
use crate::failure::Failure;
use crate::parameters::Parameters;
use crate::{decode, encode};

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/networks", get(list))
        .route("/networks/create", post(create))
        .route("/networks/prune", post(prune))
        .route("/networks/{name}", get(inspect))
        .route("/networks/{name}", delete(remove))
        .route("/networks/{name}/connect", post(connect))
        .route("/networks/{name}/disconnect", post(disconnect))
}

async fn list(
    State(engine): State<Engine>,
    parameters: Parameters,
) -> Result<Json<Vec<Value>>, Failure> {
    let views = engine.list_networks(&parameters.filters()?)?;
    let without_containers = |view| encode::network(view, false);
    Ok(Json(views.iter().map(without_containers).collect()))
}

async fn create(
    State(engine): State<Engine>,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Failure> {
    let request: NetworkCreateRequest = decode::json(body).await?;
    let id = engine.create_network(decode::network(request)?).await?;
    Ok((StatusCode::CREATED, Json(json!({"Id": id, "Warning": ""}))))
}

async fn prune(
    State(engine): State<Engine>,
    parameters: Parameters,
) -> Result<Json<Value>, Failure> {
    let removed = engine.prune_networks(&parameters.filters()?).await?;
    Ok(Json(json!({"NetworksDeleted": removed})))
}

async fn inspect(
    State(engine): State<Engine>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Failure> {
    Ok(Json(encode::network(&engine.network(&name)?, true)))
}

async fn remove(
    State(engine): State<Engine>,
    Path(name): Path<String>,
) -> Result<StatusCode, Failure> {
    engine.remove_network(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn connect(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    body: Body,
) -> Result<StatusCode, Failure> {
    let request: NetworkConnectRequest = decode::json(body).await?;
    let config = decode::endpoint(&name, request.endpoint_config.unwrap_or_default())?;
    let container = request.container.unwrap_or_default();
    engine.connect_network(&name, &container, config).await?;
    Ok(StatusCode::OK)
}

async fn disconnect(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    body: Body,
) -> Result<StatusCode, Failure> {
    let request: NetworkDisconnectRequest = decode::json(body).await?;
    let container = request.container.unwrap_or_default();
    match engine.disconnect_network(&name, &container).await {
        // With force, a container that is gone is as disconnected as can be.
        Err(error) if request.force == Some(true) && error.is_no_container() => Ok(StatusCode::OK),
        outcome => Ok(outcome.map(|()| StatusCode::OK)?),
    }
}
