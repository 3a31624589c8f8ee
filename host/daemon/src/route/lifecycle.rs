//! Containers: start, stop, restart, kill, pause, unpause.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use dhow_engine::Engine;
use dhow_engine::verb::stop::StopOptions;

use super::Shared;
use crate::failure::Failure;
use crate::parameters::Parameters;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/containers/{name}/start", post(start))
        .route("/containers/{name}/stop", post(stop))
        .route("/containers/{name}/restart", post(restart))
        .route("/containers/{name}/kill", post(kill))
        .route("/containers/{name}/pause", post(pause))
        .route("/containers/{name}/unpause", post(unpause))
}

type Done = Result<StatusCode, Failure>;

/// Docker's answer has no body. What the user should know goes into HTTP's own field for it, which
/// other clients pass over (RFC 7234, 5.5).
async fn start(
    State(engine): State<Engine>,
    Path(name): Path<String>,
) -> Result<Response, Failure> {
    let warnings = engine.start(&name).await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    for warning in warnings {
        if let Ok(value) = dhow_api::warning::header(&warning) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
    Ok(response)
}

fn stop_options(parameters: &Parameters) -> Result<StopOptions, Failure> {
    Ok(StopOptions {
        signal: parameters.text("signal").map(str::to_owned),
        timeout_seconds: parameters.number("t")?,
    })
}

async fn stop(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    parameters: Parameters,
) -> Done {
    engine.stop(&name, stop_options(&parameters)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn restart(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    parameters: Parameters,
) -> Done {
    engine.restart(&name, stop_options(&parameters)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn kill(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    parameters: Parameters,
) -> Done {
    engine.kill(&name, parameters.text("signal")).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn pause(State(engine): State<Engine>, Path(name): Path<String>) -> Done {
    engine.pause(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn unpause(State(engine): State<Engine>, Path(name): Path<String>) -> Done {
    engine.unpause(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}
