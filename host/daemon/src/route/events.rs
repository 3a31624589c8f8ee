//! `GET /events`.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use dhow_engine::Engine;
use futures_util::stream;

use super::Shared;
use crate::encode;
use crate::failure::Failure;
use crate::parameters::Parameters;

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/events", get(events))
}

async fn events(State(engine): State<Engine>, parameters: Parameters) -> Result<Response, Failure> {
    let subscription = engine.subscribe(
        parameters.time("since")?,
        parameters.time("until")?,
        parameters.filters()?,
    )?;
    let lines = stream::unfold(subscription, |mut subscription| async move {
        let event = subscription.next().await?;
        let line = format!("{}\n", encode::event(&event));
        Some((Ok::<_, std::convert::Infallible>(line), subscription))
    });
    let json = [(header::CONTENT_TYPE, "application/json")];
    Ok((json, Body::from_stream(lines)).into_response())
}
