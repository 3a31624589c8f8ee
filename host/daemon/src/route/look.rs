//! Looking into a running container: its processes, and what it uses.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use dhow_api::models::ContainerTopResponse;
use dhow_engine::Engine;
use dhow_engine::verb::stats::{Sample, Samples};
use futures_util::stream;

use super::Shared;
use crate::encode;
use crate::failure::Failure;
use crate::parameters::Parameters;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/containers/{name}/top", get(top))
        .route("/containers/{name}/stats", get(stats))
}

async fn top(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    parameters: Parameters,
) -> Result<Json<ContainerTopResponse>, Failure> {
    let arguments = parameters.text("ps_args").unwrap_or_default();
    let table = engine.top(&name, arguments).await?;
    Ok(Json(ContainerTopResponse {
        titles: Some(table.titles),
        processes: Some(table.rows),
    }))
}

/// Streams a line a second unless told otherwise. Docker's `one-shot` answers at once; without it an
/// answer that is no stream waits for a second sample to compare with.
async fn stats(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    parameters: Parameters,
) -> Result<Response, Failure> {
    let mut samples = engine.samples(&name)?;
    let json = [(header::CONTENT_TYPE, "application/json")];
    if parameters.text("stream").is_none() || parameters.flag("stream") {
        let lines = stream::unfold((samples, None), |(mut samples, before)| async move {
            let (line, now) = line(&mut samples, before).await?;
            Some((
                Ok::<_, std::convert::Infallible>(line),
                (samples, Some(now)),
            ))
        });
        return Ok((json, Body::from_stream(lines)).into_response());
    }
    let mut before = None;
    if !parameters.flag("one-shot") {
        before = samples.next().await?;
        // What does not run has nothing to compare.
        let runs = before.as_ref().is_some_and(|sample| sample.usage.is_some());
        if !runs {
            return Ok((json, written(&samples, None, before.as_ref())).into_response());
        }
    }
    let now = samples.next().await?;
    Ok((json, written(&samples, before.as_ref(), now.as_ref())).into_response())
}

/// The next line of a stream; a failure ends it, and the client sees that it did.
async fn line(samples: &mut Samples, before: Option<Sample>) -> Option<(String, Sample)> {
    match samples.next().await {
        Ok(Some(now)) => Some((written(samples, before.as_ref(), Some(&now)), now)),
        Ok(None) => None,
        Err(error) => {
            tracing::warn!(%error, "a stream of statistics ends");
            None
        }
    }
}

fn written(samples: &Samples, before: Option<&Sample>, now: Option<&Sample>) -> String {
    now.map_or_else(String::new, |now| {
        format!("{}\n", encode::stats(&samples.container, before, now))
    })
}
