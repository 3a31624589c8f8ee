//! Any request to the Docker API: answered, never a panic. There is no machine behind it and one
//! image that is only a name.
//!
//! The input is a request line without a version of HTTP, then the body: `POST
//! /containers/create?name=x`, a line feed, JSON. `seeds/api` has some.
#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, Uri, header};
use dhow_engine::guest::{Boot, Boxed, Guest, MachineFailure};
use dhow_engine::{Engine, EngineOptions};
use dhow_fake_agent::FakeImages;
use libfuzzer_sys::{Corpus, fuzz_target};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// How long an answer may take; waiting for a container is answered when it ends, which none does.
const PATIENCE: Duration = Duration::from_millis(200);

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
});

/// No machine starts: nothing that is fuzzed may become a process of the host.
#[derive(Debug)]
struct NoMachine;

impl Boot for NoMachine {
    fn boot(&self) -> Boxed<'_, Result<Arc<dyn Guest>, MachineFailure>> {
        Box::pin(async { Err("there is no machine".into()) })
    }
}

fn request(input: &[u8]) -> Option<Request<Body>> {
    let end = input
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(input.len());
    let (line, body) = input.split_at(end);
    let space = line.iter().position(|byte| *byte == b' ')?;
    let (method, target) = line.split_at(space);
    let request = Request::builder()
        .method(Method::from_bytes(method).ok()?)
        .uri(Uri::try_from(&target[1..]).ok()?)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::HOST, "docker");
    request.body(Body::from(body.to_vec())).ok()
}

fuzz_target!(|input: &[u8]| -> Corpus {
    let Some(request) = request(input) else {
        return Corpus::Reject;
    };
    RUNTIME.block_on(async {
        let home = tempfile::tempdir().expect("a folder");
        let engine = Engine::open(EngineOptions {
            home: home.path().to_owned(),
            boot: Arc::new(NoMachine),
            images: Arc::new(FakeImages),
            machine_idle: Duration::from_secs(60),
        })
        .expect("an engine");
        let router = dhow_daemon::route::router(engine, CancellationToken::new());
        let _answer = tokio::time::timeout(PATIENCE, router.oneshot(request)).await;
    });
    Corpus::Keep
});
