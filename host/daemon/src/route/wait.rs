//! `POST /containers/{name}/wait`.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use dhow_api::models::ContainerWaitResponse;
use dhow_engine::Engine;
use dhow_engine::verb::wait::WaitCondition;
use futures_util::stream;

use super::Shared;
use crate::failure::Failure;
use crate::parameters::Parameters;

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/containers/{name}/wait", post(wait))
}

/// Answers the headers at once, so that the client knows that from now on it misses nothing; the
/// body follows when it is over.
async fn wait(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    parameters: Parameters,
) -> Result<Response, Failure> {
    let condition = match parameters.text("condition") {
        None | Some("not-running") => WaitCondition::NotRunning,
        Some("next-exit") => WaitCondition::NextExit,
        Some("removed") => WaitCondition::Removed,
        Some(other) => {
            return Err(Failure::invalid(format!("invalid condition: {other:?}")));
        }
    };
    let waiter = engine.wait(&name, condition)?;
    let outcome = stream::once(async move {
        let outcome = waiter.outcome().await;
        let response = ContainerWaitResponse {
            status_code: outcome.exit_code,
            error: None,
        };
        serde_json::to_vec(&response)
    });
    let json = [(header::CONTENT_TYPE, "application/json")];
    Ok((json, Body::from_stream(outcome)).into_response())
}
