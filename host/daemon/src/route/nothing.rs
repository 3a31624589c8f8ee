//! Parts of Docker's API of which dhow has nothing: truthfully empty lists, and refusals with a
//! reason.

use axum::http::StatusCode;
use axum::routing::{any, get};
use axum::{Json, Router};
use serde_json::json;

use super::Shared;
use crate::failure::Failure;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/plugins", get(|| async { Json(json!([])) }))
        .route("/plugins/{*path}", any(|| refused("plugin")))
        .route("/session", any(|| refused("build sessions")))
        .route("/grpc", any(|| refused("build sessions")))
        .route("/swarm", any(no_swarm))
        .route("/swarm/{*path}", any(no_swarm))
        .route("/nodes", any(no_swarm))
        .route("/services", any(no_swarm))
        .route("/tasks", any(no_swarm))
        .route("/secrets", any(no_swarm))
        .route("/configs", any(no_swarm))
}

async fn refused(what: &'static str) -> Failure {
    Failure::unsupported(what)
}

async fn no_swarm() -> Failure {
    let message = "This node is not a swarm manager. Use \"docker swarm init\" or \
        \"docker swarm join\" to connect this node to swarm and try again.";
    Failure::new(StatusCode::SERVICE_UNAVAILABLE, message)
}
