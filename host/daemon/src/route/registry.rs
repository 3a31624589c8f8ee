//! Registries: pull (`/images/create`), push, search, and `/auth`.
//!
//! Pull and push answer with a stream of JSON values. What fails before the first of them is an HTTP
//! error; later it is the last value, as with Docker.

use std::convert::Infallible;
use std::future::Future;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use dhow_engine::Engine;
use dhow_engine::image::{Credentials, ImageError, Platform, PullRequest, PushRequest, Reference};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::encode;
use crate::failure::{Failure, chain};
use crate::parameters::Parameters;

/// Steps waiting for the client.
const PROGRESS_BUFFER_STEPS: usize = 64;

/// Who asks, as Docker's clients say it.
const AUTH_HEADER: &str = "x-registry-auth";

/// Repositories a search finds unless it is told otherwise.
const DEFAULT_SEARCH_LIMIT: usize = 25;

/// Most that may be asked for.
const MAX_SEARCH_LIMIT: usize = 100;

/// Largest body of a login.
const MAX_LOGIN_BYTES: usize = 64 << 10;

fn credentials(headers: &HeaderMap) -> Result<Credentials, Failure> {
    let Some(header) = headers.get(AUTH_HEADER) else {
        return Ok(Credentials::default());
    };
    let text = header.to_str().unwrap_or("?");
    Credentials::from_header(text).map_err(|error| Failure::invalid(error.to_string()))
}

fn reference(text: &str) -> Result<Reference, Failure> {
    text.parse::<Reference>()
        .map_err(|error| Failure::invalid(error.to_string()))
}

/// `POST /images/create?fromImage=…`.
pub(super) async fn pull(
    engine: Engine,
    parameters: &Parameters,
    headers: &HeaderMap,
) -> Result<Response, Failure> {
    let image = parameters.text("fromImage").unwrap_or_default();
    let mut wanted = reference(image)?;
    let credentials = credentials(headers)?;
    let platform = parameters.text("platform").map(str::parse::<Platform>);
    let platform = platform
        .transpose()
        .map_err(|error| Failure::invalid(error.to_string()))?;
    let is_whole = wanted.tag().is_some() || wanted.digest().is_some();
    let mut tags = Vec::new();
    match parameters.text("tag") {
        Some(digest) if digest.contains(':') => wanted = reference(&format!("{image}@{digest}"))?,
        Some(tag) => {
            let tagged = wanted.with_tag(tag);
            wanted = tagged.ok_or_else(|| Failure::invalid(format!("invalid tag: {tag:?}")))?;
        }
        None if is_whole => {}
        // A name alone means all its tags.
        None => {
            tags = engine
                .image_tags(wanted.clone(), credentials.clone())
                .await?;
        }
    }
    let references: Vec<Reference> = match tags.is_empty() {
        true => vec![wanted],
        false => tags.iter().filter_map(|tag| wanted.with_tag(tag)).collect(),
    };
    let (lines, steps) = mpsc::channel(PROGRESS_BUFFER_STEPS);
    let work = async move {
        for reference in references {
            let request = PullRequest {
                reference,
                platform: platform.clone(),
                credentials: credentials.clone(),
            };
            pull_one(&engine, request, &lines).await?;
        }
        Ok(())
    };
    told(work, steps).await
}

async fn pull_one(
    engine: &Engine,
    request: PullRequest,
    lines: &mpsc::Sender<Value>,
) -> Result<(), ImageError> {
    let name = request.reference.clone().or_latest().familiar();
    let (progress, steps) = mpsc::channel(PROGRESS_BUFFER_STEPS);
    let passing = pass_on(steps, lines, encode::pull_step);
    let (pulled, ()) = tokio::join!(engine.image_pull(request, progress), passing);
    for line in encode::pulled(&name, &pulled?) {
        let _client_gone = lines.send(line).await;
    }
    Ok(())
}

/// `POST /images/{name}/push`.
pub(super) async fn push(
    engine: Engine,
    name: &str,
    parameters: &Parameters,
    headers: &HeaderMap,
) -> Result<Response, Failure> {
    let named = reference(name)?;
    let credentials = credentials(headers)?;
    let references = match parameters.text("tag") {
        Some(tag) => {
            let tagged = named.with_tag(tag);
            vec![tagged.ok_or_else(|| Failure::invalid(format!("invalid tag: {tag:?}")))?]
        }
        None if named.tag().is_some() => vec![named],
        None => all_tags(&engine, &named).await?,
    };
    let (lines, steps) = mpsc::channel(PROGRESS_BUFFER_STEPS);
    let work = async move {
        for reference in references {
            let request = PushRequest {
                reference,
                credentials: credentials.clone(),
            };
            push_one(&engine, request, &lines).await?;
        }
        Ok(())
    };
    told(work, steps).await
}

/// All names an image has in a repository.
async fn all_tags(engine: &Engine, named: &Reference) -> Result<Vec<Reference>, Failure> {
    let images = engine.images_list().await?;
    let tags = images.iter().flat_map(|image| &image.repo_tags);
    let references = tags.filter_map(|tag| tag.parse::<Reference>().ok());
    let found: Vec<Reference> = references
        .filter(|tag| tag.name() == named.name())
        .collect();
    match found.is_empty() {
        false => Ok(found),
        true => Err(ImageError::NotFound(named.familiar()).into()),
    }
}

async fn push_one(
    engine: &Engine,
    request: PushRequest,
    lines: &mpsc::Sender<Value>,
) -> Result<(), ImageError> {
    let (progress, steps) = mpsc::channel(PROGRESS_BUFFER_STEPS);
    let passing = pass_on(steps, lines, encode::push_step);
    let (pushed, ()) = tokio::join!(engine.image_push(request, progress), passing);
    for line in encode::pushed(&pushed?) {
        let _client_gone = lines.send(line).await;
    }
    Ok(())
}

/// Tells the client of each step, until there are no more or it is gone. The pull or push sees that
/// nobody listens, as the steps' receiver goes with this.
async fn pass_on<Step>(
    mut steps: mpsc::Receiver<Step>,
    lines: &mpsc::Sender<Value>,
    encode: impl Fn(&Step) -> Value,
) {
    loop {
        let step = tokio::select! {
            step = steps.recv() => step,
            () = lines.closed() => None,
        };
        let Some(step) = step else { break };
        let _client_gone = lines.send(encode(&step)).await;
    }
}

/// Runs `work` in a task of its own and answers with what it tells.
async fn told(
    work: impl Future<Output = Result<(), ImageError>> + Send + 'static,
    mut steps: mpsc::Receiver<Value>,
) -> Result<Response, Failure> {
    let (ends, ended) = mpsc::channel(1);
    tokio::spawn(async move {
        if let Err(error) = work.await {
            let _client_gone = ends.send(error).await;
        }
    });
    let mut ended = ended;
    let Some(first) = steps.recv().await else {
        return match ended.recv().await {
            Some(error) => Err(error.into()),
            None => Ok(stream_of(futures_util::stream::empty())),
        };
    };
    let begun = futures_util::stream::iter([first]).chain(received(steps));
    let failure = received(ended).map(|error| error_line(&error));
    Ok(stream_of(begun.chain(failure)))
}

fn stream_of(lines: impl futures_util::Stream<Item = Value> + Send + 'static) -> Response {
    let lines = lines.map(|line| Ok::<_, Infallible>(format!("{line}\r\n")));
    let json = [(header::CONTENT_TYPE, "application/json")];
    (json, Body::from_stream(lines)).into_response()
}

fn error_line(error: &ImageError) -> Value {
    let message = chain(error);
    tracing::debug!(message, "a transfer failed");
    json!({"errorDetail": {"message": message}, "error": message})
}

/// `POST /auth`.
pub(super) async fn login(
    State(engine): State<Engine>,
    body: Body,
) -> Result<Json<Value>, Failure> {
    let bytes: Bytes = axum::body::to_bytes(body, MAX_LOGIN_BYTES)
        .await
        .map_err(|error| Failure::invalid(format!("failed to read the request: {error}")))?;
    let credentials =
        Credentials::from_json(&bytes).map_err(|error| Failure::invalid(error.to_string()))?;
    let token = engine.registry_login(credentials).await?;
    Ok(Json(json!({
        "Status": "Login Succeeded",
        "IdentityToken": token.unwrap_or_default(),
    })))
}

/// `GET /images/search`.
pub(super) async fn search(
    State(engine): State<Engine>,
    headers: HeaderMap,
    parameters: Parameters,
) -> Result<Json<Vec<Value>>, Failure> {
    let term = parameters.text("term").unwrap_or_default().to_owned();
    let limit = parameters.number("limit")?.unwrap_or(DEFAULT_SEARCH_LIMIT);
    if !(1..=MAX_SEARCH_LIMIT).contains(&limit) {
        let message = format!("limit {limit} is outside the range of [1, {MAX_SEARCH_LIMIT}]");
        return Err(Failure::invalid(message));
    }
    let filters = parameters.filters()?;
    filters.only(&["is-official", "is-automated", "stars"])?;
    let found = engine
        .registry_search(term, limit, credentials(&headers)?)
        .await?;
    let official = filters
        .values("is-official")
        .next()
        .map(|text| text == "true");
    let stars = filters
        .values("stars")
        .filter_map(|text| text.parse::<u64>().ok())
        .max();
    let fitting = found.into_iter().filter(|one| {
        official.is_none_or(|wanted| one.is_official == wanted)
            && stars.is_none_or(|least| one.stars >= least)
    });
    let shown = fitting.map(|one| {
        json!({
            "name": one.name,
            "description": one.description,
            "star_count": one.stars,
            "is_official": one.is_official,
            "is_automated": false,
        })
    });
    Ok(Json(shown.collect()))
}

/// What a channel brings, as a stream.
fn received<T: Send + 'static>(
    receiver: mpsc::Receiver<T>,
) -> impl futures_util::Stream<Item = T> + Send + 'static {
    futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|item| (item, receiver))
    })
}
