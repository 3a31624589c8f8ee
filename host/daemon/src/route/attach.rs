//! `POST /containers/{name}/attach`.

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use dhow_engine::Engine;
use dhow_engine::log::LogOptions;
use dhow_engine::stream::Selection;
use dhow_engine::verb::attach::Attached;

use super::Shared;
use super::logs::{Form, wire_form};
use crate::detach::DetachKeys;
use crate::failure::Failure;
use crate::hijack::{Hijack, Session};
use crate::parameters::Parameters;

/// Entries of the log sent to a client that asks for what was said before it attached.
const MAX_REPLAYED_ENTRIES: u64 = 10_000;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/containers/{name}/attach", post(attach))
        .route(
            "/containers/{name}/attach/ws",
            get(|| async { Failure::unsupported("attaching over a websocket") }),
        )
}

async fn attach(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    parameters: Parameters,
    mut request: Request,
) -> Result<Response, Failure> {
    let hijack = Hijack::of(&mut request);
    let stream = parameters.flag("stream");
    let selection = Selection {
        stdin: stream && parameters.flag("stdin"),
        stdout: stream && parameters.flag("stdout"),
        stderr: stream && parameters.flag("stderr"),
    };
    let keys = parameters.text("detachKeys").unwrap_or_default();
    let detach_keys =
        DetachKeys::parse(keys).map_err(|error| Failure::invalid(error.to_string()))?;
    let Attached {
        mut attachment,
        tty,
        end_input_with_client,
    } = engine.attach(&name, selection)?;
    let mut first = Vec::new();
    if parameters.flag("logs") {
        let options = LogOptions {
            stdout: parameters.flag("stdout"),
            stderr: parameters.flag("stderr"),
            tail: Some(MAX_REPLAYED_ENTRIES),
            ..LogOptions::default()
        };
        let form = Form {
            tty,
            timestamps: false,
        };
        let mut logs = engine.logs(&name, options)?;
        while let Some(Ok(entry)) = logs.entries.recv().await {
            first.push(wire_form(&entry, form));
        }
    }
    if !stream {
        attachment.output.close();
    }
    hijack.carry(Session {
        attachment,
        first,
        tty,
        end_input_with_client,
        detach_keys: tty.then_some(detach_keys),
    })
}
